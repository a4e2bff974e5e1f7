"""The pages in a real browser: desktop and phone, live, without a word on the console."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mmcoord.api.app import create_app
from mmcoord.api.shared import LIVE
from mmcoord.config import Settings
from mmcoord.stages.planrows import row_to_json
from mmcoord.store.database import Database
from mmcoord.store.tables import CandidateRow, MatchRow, PlanRevisionRow, RequestRow
from tests.system import missing
from tests.web import sample
from tests.web.busy import PAGES, search_wide
from tests.web.sample import EVENT, FIRST, HEARD, MAP
from tests.web.server import serving
from tests.web.test_pages import HOSTILE

pytestmark = pytest.mark.browser

CHROMIUM = Path(os.environ.get("MMCOORD_CHROMIUM", "/usr/bin/chromium"))
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@dataclass
class Tab:
    """A page in the browser, and what it complained about."""

    page: Any
    address: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(self.address + path, wait_until="load")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        missing(f"Chromium at {CHROMIUM} (Debian: chromium; or set MMCOORD_CHROMIUM)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def tab(browser: Any, filled: Database, size: str) -> Iterator[Tab]:
    width, height = SIZES[size]
    with serving(create_app(filled, Settings(), list)) as address:
        context = browser.new_context(viewport={"width": width, "height": height})
        page = context.new_page()
        page.set_default_timeout(60_000)
        found = Tab(page, address)
        page.on("console", lambda m: found.complaints.append(f"{m.type}: {m.text}"))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.on(
            "request",
            lambda r: None if r.url.startswith(address) else found.complaints.append(r.url),
        )
        yield found
        context.close()
    assert found.complaints == []


def screen(tab: Tab) -> tuple[int, int]:
    size = tab.page.viewport_size
    return size["width"], size["height"]


both = pytest.mark.parametrize("size", list(SIZES))
desktop = pytest.mark.parametrize("size", ["desktop"])


@both
def test_the_first_target_is_seen_and_says_why(tab: Tab) -> None:
    tab.open("/events")
    tab.page.get_by_role("link", name=EVENT).click()
    row = tab.page.locator("[data-rank='1']")
    row.wait_for()
    assert row.get_attribute("data-object") == FIRST
    assert row.is_visible()
    reason = tab.page.get_by_text(f"why kilonova of {FIRST}")
    assert not reason.is_visible()
    tab.page.get_by_text("Why rank 1").click()
    assert reason.is_visible()


@both
def test_no_page_is_wider_than_the_screen(tab: Tab, filled: Database) -> None:
    search_wide(filled)
    too_wide = []
    for path in (*PAGES.values(), "/nope"):
        tab.open(path)
        assert tab.page.locator("h1").is_visible(), path
        if tab.page.evaluate("document.documentElement.scrollWidth") > screen(tab)[0]:
            too_wide.append(path)
    assert too_wide == []
    expected = (
        "404",
        "Password forms",
    )  # of the page that is not there; a token has no user's name
    tab.complaints = [c for c in tab.complaints if not any(word in c for word in expected)]


@both
def test_tiles_and_further_looks_are_read_line_by_line(tab: Tab, filled: Database) -> None:
    tiles = search_wide(filled)
    tab.open(f"/events/{EVENT}")
    asked = tab.page.locator("[data-rank='1'] .observe").inner_text().splitlines()
    assert [line.split(",")[0] for line in asked if "then" in line] == ["then lco-1m-sso"] * 2
    rows = tab.page.locator(".tiles .tile")
    assert rows.count() == len(tiles)
    assert rows.first.is_visible()
    reason = tab.page.get_by_text(tiles[2].reason)
    assert not reason.is_visible()
    tab.page.locator(".tiles summary").nth(2).click()
    assert reason.is_visible()


@both
def test_practice_cannot_be_overlooked(tab: Tab) -> None:
    tab.open(f"/events/{EVENT}")
    banner = tab.page.get_by_text("This is not a real event")
    assert banner.is_visible()
    assert banner.bounding_box()["y"] < screen(tab)[1] / 4


@desktop
def test_a_new_plan_appears_by_itself_and_an_open_why_stays_open(
    tab: Tab, filled: Database
) -> None:
    tab.open(f"/events/{EVENT}")
    tab.page.locator("#live[data-state=on]").wait_for()
    tab.page.get_by_text("Why rank 1").click()
    tab.page.get_by_text("Why rank 2").focus()
    rows = [sample.plan_row(1, "SN27bbb", 0.9), sample.plan_row(2, FIRST, 0.5)]
    sample.add(
        filled,
        PlanRevisionRow(event_id=EVENT, revision=3, content_sha256="3" * 64, planned_for=HEARD,
                        n_targets=2, objective=1.4, note="two", created_at=HEARD),
        *(RequestRow(event_id=EVENT, revision=3, rank=r.rank, object_id=r.object_id,
                     score=r.score, row=row_to_json(r)) for r in rows),
        sample.journal("planned", "plan", "plan revision 3", 60.0, 1.0),
    )  # fmt: skip
    tab.page.locator("[data-rank='1'][data-object='SN27bbb']").wait_for()
    assert tab.page.locator("[data-rank]").count() == 2
    assert tab.page.get_by_text(f"why kilonova of {FIRST}").is_visible()
    assert not tab.page.get_by_text("why kilonova of SN27bbb").is_visible()
    focused = tab.page.evaluate("document.activeElement.closest('tr')?.dataset.key")
    assert focused == "why-SN27bbb"
    assert "first target SN27bbb" in tab.page.locator("#announcer").inner_text()


@desktop
def test_choosing_a_target_shows_its_light_curve_in_place(tab: Tab) -> None:
    tab.open(f"/events/{EVENT}")
    tab.page.get_by_role("link", name="SN27bbb", exact=True).first.click()
    tab.page.locator("#light-curve", has_text="SN27bbb").wait_for()
    assert "target=SN27bbb" in tab.page.url
    tab.page.locator(f"[data-dot='{FIRST}']").click()
    tab.page.locator("#light-curve", has_text=FIRST).wait_for()


@desktop
def test_bands_are_switched_and_stay_switched_after_a_refresh(tab: Tab, filled: Database) -> None:
    tab.open(f"/events/{EVENT}")
    tab.page.locator("#live[data-state=on]").wait_for()
    green = tab.page.locator("g[data-band='lsst:g']")
    assert green.is_visible()
    tab.page.get_by_role("button", name="lsst:g").click()
    assert not green.is_visible()
    # It says that it was told of news, so that 200 browsers get one making of the page.
    with tab.page.expect_request(lambda request: LIVE in request.headers):
        sample.add(filled, sample.journal("sent", "deliver", "an entry of the story", 70.0))
    tab.page.get_by_text("an entry of the story").wait_for()
    assert not green.is_visible()
    assert tab.page.get_by_role("button", name="lsst:g").get_attribute("aria-pressed") == "false"


@desktop
def test_coordinates_are_copied(tab: Tab) -> None:
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.open(f"/events/{EVENT}")
    ra, dec = sample.position(0)
    tab.page.get_by_role("button", name=f"Copy coordinates of {FIRST} in degrees").click()
    tab.page.locator("button.copied").wait_for()
    assert tab.page.evaluate("navigator.clipboard.readText()") == f"{ra:.6f} {dec:+.6f}"


@desktop
def test_the_event_is_walked_by_keyboard_alone(tab: Tab) -> None:
    tab.open("/events")
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.textContent") == "Skip to content"
    for _ in range(12):
        tab.page.keyboard.press("Tab")
        if tab.page.evaluate("document.activeElement.textContent") == EVENT:
            break
    tab.page.keyboard.press("Enter")
    tab.page.locator("[data-rank='1']").wait_for()
    tab.page.locator("summary", has_text="Why rank 1").focus()
    tab.page.keyboard.press("Enter")
    assert tab.page.get_by_text(f"why time of {FIRST}").is_visible()


@desktop
def test_hostile_text_runs_nowhere(tab: Tab, filled: Database) -> None:
    sample.add(
        filled,
        CandidateRow(object_id=HOSTILE, source=HOSTILE, ra_deg=197.0, dec_deg=-23.0, hpx29=1,
                     attributes={HOSTILE: HOSTILE}, notice_id=1, received_at=HEARD),
        MatchRow(event_id=EVENT, localization_id=MAP, object_id=HOSTILE, prob_density_sr=1.0,
                 credible_level_2d=0.001, matched_at=HEARD),
        *sample.photometry(HOSTILE),
    )  # fmt: skip
    dialogs: list[str] = []
    tab.page.on("dialog", lambda d: (dialogs.append(d.message), d.dismiss()))
    tab.open(f"/objects/{sample.url(HOSTILE)}")
    assert HOSTILE in tab.page.locator("h1").inner_text()
    tab.open(f"/events/{EVENT}?target={sample.url(HOSTILE)}")
    tab.page.locator("#live[data-state=on]").wait_for()
    sample.add(filled, sample.journal("planned", "plan", HOSTILE, 80.0))
    tab.page.locator(".story .text", has_text="onerror").wait_for()
    assert dialogs == []
    assert tab.page.locator("main img").count() == 0


@both
def test_a_new_alarm_is_a_banner_without_a_reload(tab: Tab, filled: Database) -> None:
    tab.open("/events")
    tab.page.locator("#live[data-state=on]").wait_for()
    assert tab.page.locator("aside").count() == 0
    sample.add(
        filled,
        sample.alarm_row("unreachable gcn", text="x" * 600),
        sample.journal("alarm", "watchdog", "unreachable gcn", 90.0, event_id=None),
    )
    banner = tab.page.get_by_role("link", name="unreachable gcn")
    banner.wait_for()
    assert banner.bounding_box()["y"] < screen(tab)[1] / 4
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= screen(tab)[0]
    banner.click()
    tab.page.locator("li[id^=alarm-]", has_text="unreachable gcn").wait_for()


@both
def test_light_and_dark_have_enough_contrast(tab: Tab, filled: Database) -> None:
    """WCAG 2.1 AA: 4.5 to 1 for text against what lies behind it."""
    sample.add(filled, sample.alarm_row("mock"), sample.alarm_row("disk low", "warn"))
    for scheme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=scheme)
        for path in (f"/events/{EVENT}", "/health", "/notices"):
            tab.open(path)
            assert tab.page.evaluate(CONTRAST) == []


CONTRAST = """() => {
  const parse = (text) => {
    const n = text.match(/[0-9.]+/g).map(Number);
    return {rgb: n.slice(0, 3), alpha: n.length > 3 ? n[3] : 1};
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => {
      const c = v / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.alpha === 1) return colour.rgb;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *:not(svg *)")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.nodeValue.trim());
    if (!own || !element.checkVisibility()) continue;
    const a = luminance(parse(getComputedStyle(element).color).rgb);
    const b = luminance(behind(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const name = `${element.className} ${element.textContent.trim().slice(0, 30)}`;
    if (ratio < 4.5) found.push(`${name} ${ratio.toFixed(2)}`);
  }
  return found;
}"""
