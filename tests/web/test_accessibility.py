"""Every page, light and dark, wide and on a phone: axe finds no serious fault, and it is light."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from mmcoord.api.app import create_app
from mmcoord.config import Settings
from tests.web import sample
from tests.web.busy import PAGES, burst_page, busy
from tests.web.server import serving
from tests.web.test_browser import SIZES, browser

__all__ = ["browser"]

pytestmark = pytest.mark.browser

_OF_STANDARD: dict[str, Any] = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
    }
}
_OF_COLOUR: dict[str, Any] = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
"""Light and dark differ in colours alone."""
_OF_LAYOUT: dict[str, Any] = {**_OF_STANDARD, "rules": {"color-contrast": {"enabled": False}}}
_LOOKS = {
    "desktop": (("light", _OF_STANDARD), ("dark", _OF_COLOUR)),
    "phone": (("light", _OF_LAYOUT),),
}
"""A phone has the same colours; test_browser.py measures them on both."""
_MOST_BYTES = 500_000


@dataclass(frozen=True)
class Night:
    """A running page with everything on it."""

    address: str
    pages: dict[str, str]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("night")
    database = sample.open_store(folder)
    sample.fill(database)
    busy(database)
    pages = PAGES | {"burst": burst_page(database, folder / "out")}
    with serving(create_app(database, Settings(), list)) as address:
        yield Night(address, pages)
    database.close()


@pytest.mark.parametrize("size", list(SIZES))
def test_axe_finds_no_serious_fault_on_any_page(browser: Any, night: Night, size: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    width, height = SIZES[size]
    # The policy of the pages would not let axe's own script in.
    page = browser.new_context(
        viewport={"width": width, "height": height}, bypass_csp=True
    ).new_page()
    page.set_default_timeout(60_000)
    faults = []
    for path in night.pages.values():
        page.goto(night.address + path, wait_until="load")
        for scheme, rules in _LOOKS[size]:
            page.emulate_media(color_scheme=scheme)
            options = {**rules, "resultTypes": ["violations"]}
            found = axe.run(page, options=options).response["violations"]
            faults += [
                (path, scheme, one["id"], node["html"][:120])
                for one in found
                if one["impact"] in ("serious", "critical")
                for node in one["nodes"][:3]
            ]
    page.context.close()
    assert faults == []


def test_every_page_weighs_less_than_half_a_megabyte(browser: Any, night: Night) -> None:
    """Bytes of the page and all that it loads, as they are once unpacked."""
    context = browser.new_context()
    weights: dict[str, int] = {}
    for path in night.pages.values():
        page = context.new_page()  # what still comes for the page before is not of this one
        page.set_default_timeout(60_000)
        answers: list[Any] = []

        def keep(answer: Any, answers: list[Any] = answers) -> None:
            answers.append(answer)

        page.on("response", keep)
        page.goto(night.address + path, wait_until="load")
        weights[path] = sum(
            len(a.body())
            for a in answers
            if a.ok and "event-stream" not in a.headers.get("content-type", "")
        )
        page.close()
    context.close()
    assert {path: size for path, size in weights.items() if size >= _MOST_BYTES} == {}
    assert all(size > 1000 for size in weights.values())
