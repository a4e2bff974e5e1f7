"""Tonight, the queue, and search: what a page must tell, and what it must not."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import healpy
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from followup.sites import load_catalogue
from mmcoord.config import Settings
from mmcoord.store.database import Database
from mmcoord.store.tables import AccessGroupRow, CandidateRow, RunRequestRow
from mmcoord.store.tables_claims import ClaimRow
from mmcoord.web.localtime import local_times
from mmcoord.web.position import BadPosition, read_position
from tests.web import sample
from tests.web.busy import search_wide
from tests.web.dom import all_in, find
from tests.web.sample import EVENT, FIRST, HEARD
from tests.web.test_pages import main_text, page

NOW = datetime.now(UTC)


# -- tonight -----------------------------------------------------------------------------


def test_an_empty_night_says_so(client: TestClient) -> None:
    text = main_text(page(client, "/"))
    assert "no message that waits" in text
    assert "None is planned from now on" in text


def test_what_waits_for_a_person_comes_first(client: TestClient, filled: Database) -> None:
    sample.add(
        filled,
        sample.delivery_row(7, state="held", sink="gcn", finished_at=None),
        sample.delivery_row(8, state="held", sink="gcn", finished_at=None),
        sample.alarm_row("disk low"),
        *(
            ClaimRow(event_id=EVENT, object_id=name, group="night owls", state=state, via="api",
                     created_at=HEARD, changed_at=HEARD, expires_at=NOW + timedelta(hours=hours))
            for name, state, hours in (("SOON", "claimed", 1), ("LATER", "claimed", 9),
                                       ("OVER", "completed", 1))
        ),
    )  # fmt: skip
    elements = page(client, "/")
    (decide,) = find(elements, "div", data_live="decide")
    assert "2 messages to gcn" in decide.text
    assert "disk low" in decide.text
    assert "SOON claimed by night owls" in " ".join(decide.text.split())
    assert "LATER" not in decide.text
    assert "OVER" not in decide.text
    assert find(elements, "a", href=f"/events/{EVENT}#h-deliveries")


def test_next_observations_are_those_of_the_newest_plan_in_both_clocks(
    client: TestClient, filled: Database
) -> None:
    (windows,) = find(page(client, "/"), "div", data_live="windows")
    text = " ".join(windows.text.split())
    assert text.count("lco-1m-sso") == 2  # the third target of revision 2 has no start
    start = HEARD + timedelta(hours=4)
    assert f"{start:%Y-%m-%d %H:%M:%S}" in text
    sydney = start.astimezone(ZoneInfo("Australia/Sydney"))
    assert f"{sydney:%H:%M} AEDT on {sydney:%Y-%m-%d}" in text


def test_tiles_and_further_looks_stand_among_the_next_observations_in_order_of_time(
    client: TestClient, filled: Database
) -> None:
    tiles = search_wide(filled)
    (windows,) = find(page(client, "/"), "div", data_live="windows")
    starts = [e.attributes["datetime"] for e in find(all_in(windows), "time")]
    assert starts == sorted(starts)
    named = [e.text for e in find(all_in(windows), "a")][::2]  # each row: what, then its event
    assert named == [*(tile.tile_id for tile in tiles), FIRST, "SN27bbb", FIRST, FIRST]
    told = " ".join(windows.text.split())
    assert told.index("rank 1, colour") < told.index("rank 1, again")
    keys = [
        e.attributes["data-key"] for e in find(all_in(windows), "tr") if "data-key" in e.attributes
    ]
    assert len(set(keys)) == len(keys) == len(tiles) + 4  # the live page finds rows by them
    assert find(all_in(windows), "a", href=f"/events/{EVENT}#h-tiles")


def test_retracted_and_old_events_are_not_active(client: TestClient, database: Database) -> None:
    old = NOW - timedelta(days=40)
    sample.add(
        database,
        sample.event_row("S1"),
        sample.event_row("S2", state="retracted"),
        sample.event_row("S3", first_received_at=old, updated_at=old),
    )
    (active,) = find(page(client, "/"), "div", data_live="active")
    shown = [e.attributes["data-event"] for e in page(client, "/") if "data-event" in e.attributes]
    assert shown == ["S1"]
    assert "retracted" not in active.text.replace("not retracted", "")


def test_every_site_on_the_ground_has_a_clock_near_its_meridian() -> None:
    """A zone on the wrong side of the Earth would be an hour angle away from the Sun."""
    for site in load_catalogue().sites:
        if site.kind == "space":
            continue
        offset = datetime(2027, 1, 15, tzinfo=ZoneInfo(site.time_zone)).utcoffset()
        assert offset is not None
        apart = offset.total_seconds() / 3600.0 - ((site.longitude_deg + 180.0) % 360 - 180) / 15.0
        assert abs(apart) < 2.2, site.id


def test_an_instrument_that_is_not_known_has_no_local_time() -> None:
    local = local_times(Settings())
    assert local("no such camera", HEARD) == ""
    assert local(None, HEARD) == ""


def test_a_clock_without_a_name_is_told_by_its_distance_from_utc() -> None:
    """Chile's summer: three hours behind."""
    at = datetime(2026, 11, 27, 5, 0, tzinfo=UTC)
    assert local_times(Settings())("blackgem", at) == "02:00 UTC-03 on 2026-11-27"


# -- the queue ---------------------------------------------------------------------------


def test_runs_count_the_private_ones_and_tell_nothing_of_them(
    client: TestClient, filled: Database
) -> None:
    sample.add(
        filled,
        AccessGroupRow(name="owls", quota_cpu_s=1000.0, created_at=HEARD),
        sample.run_row(run_key="f" * 64, partition="owls", object_id="SECRET", event_id="HIDDEN",
                       state="queued", finished_at=None, error="SECRET-WHY"),
        sample.run_row(run_key="e" * 64, state="failed", error="no points"),
        RunRequestRow(run_key=sample.RUN, group="owls", token_id="t", how="executed",
                      requested_at=NOW, charged_cpu_s=12.5),
        RunRequestRow(run_key=sample.RUN, group="owls", token_id="t", how="cached",
                      requested_at=NOW, charged_cpu_s=0.0),
        RunRequestRow(run_key="f" * 64, group="owls", token_id="t", how="executed",
                      requested_at=NOW),
    )  # fmt: skip
    elements = page(client, "/runs")
    states = {e.attributes["data-state"]: e.children[1].text for e in find(elements, "div")
              if "data-state" in e.attributes}  # fmt: skip
    others = dict.fromkeys(("resting", "running", "superseded"), "0")
    assert states == {"queued": "1", "done": "1", "failed": "1", **others}
    (owls,) = find(elements, "tr", data_group="owls")
    cells = [cell.text.strip() for cell in owls.children]
    assert cells == ["owls", "12 s", "17 min in 30 d", "1", "2", "0", "1"]
    text = main_text(elements)
    assert "1 more is private to a group and not listed" in text
    for secret in ("SECRET", "HIDDEN", "f" * 12):
        assert secret not in client.get("/runs").text
        assert secret not in client.get("/runs?state=queued").text
    assert [e for e in elements if e.attributes.get("data-run") == "e" * 64]
    assert "no points" in main_text(page(client, "/runs?state=failed"))


def test_runs_and_health_agree(client: TestClient, filled: Database) -> None:
    sample.add(filled, sample.run_row(run_key="e" * 64, state="failed", coalesced=4, cached=1))
    health = find(page(client, "/health"), "div", data_live="runs")[0]
    shown = {d.children[0].text: d.children[1].text for d in health.children[0].children}
    text = main_text(page(client, "/runs"))
    assert f"{shown['executed']} computed" in text
    assert f"{shown['coalesced']} requests joined" in text
    assert f"{shown['cached']} found the answer" in text


# -- search ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "path"),
    [(EVENT, f"/events/{EVENT}"), (FIRST, f"/objects/{FIRST}"), ("MS2703", f"/events/{EVENT}")],
)
def test_a_name_of_one_thing_leads_to_it(
    client: TestClient, filled: Database, asked: str, path: str
) -> None:
    answer = client.get("/search", params={"q": asked}, follow_redirects=False)
    assert (answer.status_code, answer.headers.get("location")) == (303, path)


def test_a_beginning_finds_all_and_nothing_else(client: TestClient, filled: Database) -> None:
    elements = page(client, "/search?q=SN27")
    found = [e.attributes["data-object"] for e in elements if "data-object" in e.attributes]
    assert found == ["SN27bbb", "SN27ccc"]
    for nothing in ("%25", "SN_7", "%00", "zzz"):
        assert "None is called so" in main_text(page(client, f"/search?q={nothing}"))


@pytest.mark.parametrize("form", ["deg", "colons", "letters", "blanks"])
def test_a_position_in_any_form_finds_what_lies_there(
    client: TestClient, filled: Database, form: str
) -> None:
    ra, dec = sample.position(1)
    spot = SkyCoord(ra * u.deg, dec * u.deg)
    text = {
        "deg": f"{ra:.6f}, {dec:+.6f}",
        "colons": spot.to_string("hmsdms", sep=":", precision=2),
        "letters": spot.to_string("hmsdms", precision=2),
        "blanks": spot.to_string("hmsdms", sep=" ", precision=2),
    }[form]
    answer = client.get("/search", params={"q": text, "radius": 2})
    assert 'data-object="SN27bbb"' in answer.text
    assert answer.text.count("data-object=") == 1


def test_a_radius_is_a_radius_at_the_poles_and_across_zero(
    client: TestClient, database: Database
) -> None:
    """Against astropy's separations."""
    spots = {"A": (359.9995, 0.0), "B": (0.0004, 0.0), "C": (0.01, 0.0), "P": (123.0, 89.9999)}
    names = list(spots)
    sky = SkyCoord([spots[n][0] for n in names] * u.deg, [spots[n][1] for n in names] * u.deg)
    sample.add(
        database,
        *(
            CandidateRow(object_id=name, source="test", ra_deg=ra, dec_deg=dec, notice_id=1,
                         received_at=HEARD,
                         hpx29=int(healpy.ang2pix(2**29, ra, dec, nest=True, lonlat=True)))
            for name, (ra, dec) in spots.items()
        ),
    )  # fmt: skip
    for centre, radius in (((0.0, 0.0), 3.0), ((0.0, 0.0), 40.0), ((300.0, 90.0), 1.0)):
        apart = sky.separation(SkyCoord(*centre, unit="deg")).arcsec
        expected = {n for n, s in zip(names, apart, strict=True) if s <= radius}
        elements = page(client, f"/search?q={centre[0]}+{centre[1]}&radius={radius}")
        found = {e.attributes["data-object"] for e in elements if "data-object" in e.attributes}
        assert found == expected


@given(st.floats(0, 359.999), st.floats(-89.999, 89.999))
def test_positions_are_read_as_astropy_reads_them(ra: float, dec: float) -> None:
    spot = SkyCoord(ra * u.deg, dec * u.deg)
    for separator in (":", " ", "hms"):
        more = {} if separator == "hms" else {"sep": separator}
        text = spot.to_string("hmsdms", precision=4, **more)
        read = read_position(text)
        assert read is not None, text
        expected = SkyCoord(text, unit=(u.hourangle, u.deg))
        assert math.isclose(read.ra_deg, expected.ra.deg, abs_tol=1e-9)
        assert math.isclose(read.dec_deg, expected.dec.deg, abs_tol=1e-9)


@pytest.mark.parametrize("text", ["400 10", "10 -91", "25:00:00 +10:00:00", "10:61:00 +10:00:00"])
def test_what_is_not_on_the_sky_is_said(client: TestClient, text: str) -> None:
    with pytest.raises(BadPosition):
        read_position(text)
    assert find(page(client, f"/search?q={text.replace('+', '%2B')}"), "p", role="alert")


@given(st.text(max_size=60))
def test_any_text_is_a_position_or_a_name(text: str) -> None:
    try:
        found = read_position(text)
    except BadPosition:
        return
    assert found is None or (0 <= found.ra_deg < 360 and -90 <= found.dec_deg <= 90)
