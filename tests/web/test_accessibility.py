"""Every page, light and dark, wide and on a phone: axe finds no serious fault, and it is light."""

from __future__ import annotations

from typing import Any

import pytest

from mmcoord.api.app import create_app
from mmcoord.config import Settings
from mmcoord.store.database import Database
from tests.web.busy import PAGES, busy
from tests.web.server import serving
from tests.web.test_browser import SIZES, browser

__all__ = ["browser"]

pytestmark = pytest.mark.browser

_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
_MOST_BYTES = 500_000


@pytest.fixture
def night(filled: Database) -> Database:
    busy(filled)
    return filled


@pytest.mark.parametrize("size", list(SIZES))
def test_axe_finds_no_serious_fault_on_any_page(browser: Any, night: Database, size: str) -> None:
    axe_of = pytest.importorskip("axe_playwright_python.sync_playwright")
    axe = axe_of.Axe()
    width, height = SIZES[size]
    faults = []
    with serving(create_app(night, Settings(), list)) as address:
        # The policy of the pages would not let axe's own script in.
        page = browser.new_context(
            viewport={"width": width, "height": height}, bypass_csp=True
        ).new_page()
        page.set_default_timeout(60_000)
        for path in PAGES.values():
            page.goto(address + path, wait_until="load")
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                options = {"runOnly": _TAGS, "resultTypes": ["violations"]}
                found = axe.run(page, options=options).response["violations"]
                faults += [
                    (path, scheme, one["id"], node["html"][:120])
                    for one in found
                    if one["impact"] in ("serious", "critical")
                    for node in one["nodes"][:3]
                ]
        page.context.close()
    assert faults == []


def test_every_page_weighs_less_than_half_a_megabyte(browser: Any, night: Database) -> None:
    """Bytes of the page and all that it loads, as they are once unpacked."""
    with serving(create_app(night, Settings(), list)) as address:
        page = browser.new_context().new_page()
        page.set_default_timeout(60_000)
        weights: dict[str, int] = {}
        for path in PAGES.values():
            answers: list[Any] = []

            def keep(answer: Any, answers: list[Any] = answers) -> None:
                answers.append(answer)

            page.on("response", keep)
            page.goto(address + path, wait_until="load")
            page.remove_listener("response", keep)
            weights[path] = sum(
                len(a.body())
                for a in answers
                if a.ok and "event-stream" not in a.headers.get("content-type", "")
            )
        page.context.close()
    assert {path: size for path, size in weights.items() if size >= _MOST_BYTES} == {}
    assert all(size > 1000 for size in weights.values())
