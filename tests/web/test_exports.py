"""Every file that an event offers, opened by a reader that is not ours."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse_single_table, validate
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from icalendar import Calendar
from sqlalchemy import update
from sqlmodel import col

import skymaps
from mmcoord.inference.files import read_photometry
from mmcoord.store.database import Database
from mmcoord.store.tables import CandidateRow, EventRow, LocalizationRow, MatchRow
from mmcoord.store.tables_tiles import PlanTileRow
from mmcoord.web import calendar
from mmcoord.web.export_tables import Column, Rows, to_csv, to_votable
from tests.making import gaussian_map
from tests.sinks.sample import tile
from tests.web import sample
from tests.web.dom import find
from tests.web.sample import EVENT, FIRST, HEARD, MAP
from tests.web.test_pages import HOSTILE, page


def get(client: TestClient, what: str, **more: str) -> bytes:
    answer = client.get(f"/export/{what}", params={"event": EVENT, **more})
    assert answer.status_code == 200, answer.text
    assert "attachment" in answer.headers["content-disposition"]
    assert f"practice-{EVENT}" in answer.headers["content-disposition"]
    return answer.content


def test_the_plan_as_csv_is_the_plan(client: TestClient, filled: Database) -> None:
    rows = list(csv.DictReader(io.StringIO(get(client, "plan.csv").decode(), newline="")))
    told = client.get(f"/api/v1/events/{EVENT}/plan").json()["rows"]
    assert [row["object_id"] for row in rows] == [row["object_id"] for row in told]
    for row, expected in zip(rows, told, strict=True):
        assert float(row["ra_deg"]) == expected["ra_deg"]
        assert float(row["score"]) == expected["score"]
        assert row["start"] == (expected["start"] or "")
        brightness = expected["factors"]["brightness"]
        assert row["factor_brightness"] == ("" if brightness is None else str(brightness))


def test_votable_is_valid_and_holds_what_csv_holds(client: TestClient, filled: Database) -> None:
    for what in ("plan", "candidates"):
        body = get(client, f"{what}.vot")
        assert validate(io.BytesIO(body), output=None)
        table = parse_single_table(io.BytesIO(body)).to_table()
        rows = list(csv.DictReader(io.StringIO(get(client, f"{what}.csv").decode(), newline="")))
        assert len(table) == len(rows) > 2
        assert str(table["ra_deg"].unit) == "deg"
        for got, row in zip(table, rows, strict=True):
            assert got["object_id"] == row["object_id"]
            assert got["dec_deg"] == float(row["dec_deg"])
            assert bool(np.ma.is_masked(got["rank"])) == (row["rank"] == "")


def test_json_is_the_same_table(client: TestClient, filled: Database) -> None:
    answer = client.get("/export/candidates.json", params={"event": EVENT}).json()
    assert answer["event"] == EVENT
    assert answer["is_practice"] is True
    assert len(answer["rows"]) == client.get(f"/api/v1/events/{EVENT}/candidates").json()["total"]
    assert answer["rows"][0]["object_id"] == FIRST


def test_any_name_of_the_event_will_do_and_an_unknown_one_is_said(
    client: TestClient, filled: Database
) -> None:
    assert client.get("/export/plan.csv", params={"event": "nobody"}).status_code == 404
    assert client.get("/export/plan.doc", params={"event": EVENT}).status_code == 422


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(max_size=30),
            st.none() | st.floats(allow_nan=False),
            st.none() | st.integers(0, 9),
        ),
        max_size=5,
    )
)
def test_tables_survive_any_text(rows: list[tuple[Any, ...]]) -> None:
    columns = (
        Column("name", str, "", "meta.id", "text"),
        Column("x", float, "deg", "pos", "number"),
        Column("n", int, "", "meta.code", "integer"),
    )
    table = Rows(columns, tuple(rows))
    names = [text for text, _, _ in rows if not any("\ud800" <= c <= "\udfff" for c in text)]
    if len(names) == len(rows):
        read = list(csv.reader(io.StringIO(to_csv(table).decode(), newline="")))
        assert [row[0] for row in read[1:]] == names
    back = parse_single_table(io.BytesIO(to_votable(table, {"event": "E"}))).to_table()
    assert len(back) == len(rows)
    for got, (_, x, n) in zip(back, rows, strict=True):
        assert np.ma.is_masked(got["x"]) or np.isnan(got["x"]) if x is None else got["x"] == x
        assert np.ma.is_masked(got["n"]) if n is None else got["n"] == n


# -- the map -----------------------------------------------------------------------------


@pytest.fixture
def mapped(filled: Database) -> skymaps.SkyMap:
    """The sample event with a map that can be read."""
    made = gaussian_map()
    with filled.write() as session:
        row = session.get(LocalizationRow, MAP)
        assert row is not None
        row.fits = skymaps.to_fits_bytes(made)
    return made


def test_the_map_is_the_one_in_use_and_a_fits_file(
    client: TestClient, mapped: skymaps.SkyMap
) -> None:
    body = get(client, "map.fits")
    with fits.open(io.BytesIO(body)) as hdus:
        table = hdus[1].data
        area = 4 * np.pi / (12 * 4.0 ** (np.log2(table["UNIQ"] / 4) // 2))
        assert np.sum(table["PROBDENSITY"] * area) == pytest.approx(1.0, abs=1e-6)
    assert len(skymaps.load(body)) == len(mapped)


def test_a_region_holds_its_share_and_both_forms_agree(
    client: TestClient, mapped: skymaps.SkyMap, tmp_path: Path
) -> None:
    mocpy = pytest.importorskip("mocpy")
    for level in ("0.5", "0.9"):
        file = tmp_path / f"{level}.fits"
        file.write_bytes(get(client, "region.moc.fits", level=level))
        from_fits = mocpy.MOC.load(file, "fits")
        from_json = mocpy.MOC.from_string(get(client, "region.moc.json", level=level).decode(),
                                          "json")  # fmt: skip
        assert from_fits == from_json
        # A Gaussian of sigma s holds p within s sqrt(-2 ln(1 - p)); the map is 5 deg at 90 %.
        expected = from_fits.sky_fraction * 4 * 180**2 / np.pi
        sigma2 = 5.0**2 / (-2 * np.log(0.1))
        assert expected == pytest.approx(np.pi * sigma2 * -2 * np.log(1 - float(level)), rel=0.05)


def test_an_event_without_a_map_has_none_to_give(client: TestClient, database: Database) -> None:
    sample.add(database, sample.event_row("S1"))
    assert client.get("/export/map.fits?event=S1").status_code == 404
    links = [e.attributes.get("href", "") for e in page(client, "/events/S1")]
    assert not [link for link in links if link.startswith("/export/map")]


def test_the_event_page_offers_what_can_be_had(client: TestClient, mapped: skymaps.SkyMap) -> None:
    links = [e.attributes["href"] for e in find(page(client, f"/events/{EVENT}"), "a")
             if e.attributes.get("href", "").startswith("/export/")]  # fmt: skip
    assert len(links) >= 10
    for link in links:
        assert client.get(link.replace("&amp;", "&")).status_code == 200, link


# -- the calendar ------------------------------------------------------------------------


def test_windows_are_read_by_a_calendar(client: TestClient, filled: Database) -> None:
    body = get(client, "windows.ics")
    assert all(len(line) <= 75 for line in body.split(b"\r\n"))
    read = Calendar.from_ical(body)
    entries = list(read.walk("VEVENT"))
    assert len(entries) == 2
    first = entries[0]
    assert first.decoded("dtstart") == HEARD + timedelta(hours=4)
    assert first.decoded("dtend") - first.decoded("dtstart") == timedelta(seconds=120)
    assert str(first["summary"]) == f"[practice] {FIRST} with lco-1m-sso in sdss:i"
    assert "plan revision 2, rank 1" in str(first["description"])
    assert "Siding Spring" in str(first["location"])
    assert first["sequence"] == 2
    assert str(first["status"]) == "TENTATIVE"
    assert len({str(entry["uid"]) for entry in entries}) == 2


def test_the_tiles_of_a_camera_are_one_entry_that_stays_the_same_in_the_next_plan(
    client: TestClient, filled: Database
) -> None:
    def planned(revision: int, n: int) -> None:
        sample.add(
            filled,
            *[
                PlanTileRow(event_id=EVENT, revision=revision, number=k, **asdict(tile(k)))
                for k in range(n)
            ],
            PlanTileRow(event_id=EVENT, revision=revision, number=n,
                        **asdict(tile(n, instrument="decam"))),
        )  # fmt: skip

    def read() -> dict[str, Any]:
        entries = Calendar.from_ical(get(client, "windows.ics")).walk("VEVENT")
        return {str(e["summary"]): e for e in entries if "of the map" in str(e["summary"])}

    planned(2, 8)
    assert len(read()) == 2
    ztf = read()[f"[practice] {EVENT}: 8 tiles with ztf, 40 % of the map"]
    assert ztf.decoded("dtstart") == tile(0).start
    assert ztf.decoded("dtend") == tile(7).start + timedelta(seconds=120)
    assert "Palomar" in str(ztf["location"])
    said = str(ztf["description"])
    assert "plan revision 2" in said
    assert said.count("ztf:r") == 5
    assert said.endswith("and 3 more")
    with filled.write() as session:
        session.execute(update(PlanTileRow).where(col(PlanTileRow.number) == 7)
                        .values(instrument="other"))  # fmt: skip
    fewer = read()[f"[practice] {EVENT}: 7 tiles with ztf, 35 % of the map"]
    assert fewer["uid"] == ztf["uid"]


def test_a_retraction_cancels_every_window(client: TestClient, filled: Database) -> None:
    with filled.write() as session:
        row = session.get(EventRow, EVENT)
        assert row is not None
        row.state = "retracted"
    entries = Calendar.from_ical(get(client, "windows.ics")).walk("VEVENT")
    assert {str(entry["status"]) for entry in entries} == {"CANCELLED"}


@given(st.text(alphabet=st.characters(exclude_categories=("C", "Zl", "Zp"))))
def test_any_text_comes_back_from_a_calendar(value: str) -> None:
    line = calendar._folded(f"SUMMARY:{calendar._text(value)}")
    assert all(len(part) <= 75 for part in line.split(b"\r\n"))
    body = b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n" + line + b"END:VEVENT\r\nEND:VCALENDAR\r\n"
    (entry,) = Calendar.from_ical(body).walk("VEVENT")
    assert str(entry["summary"]) == value


def test_hostile_names_stay_in_their_field(client: TestClient, filled: Database) -> None:
    name = HOSTILE + "\r\nEND:VEVENT\r\n,;\\\u202e"
    sample.add(
        filled,
        CandidateRow(object_id=name, source=name, ra_deg=197.0, dec_deg=-23.0, hpx29=1,
                     notice_id=1, received_at=HEARD),
        MatchRow(event_id=EVENT, localization_id=MAP, object_id=name, prob_density_sr=1.0,
                 credible_level_2d=0.001, matched_at=HEARD),
    )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(get(client, "candidates.csv").decode(), newline="")))
    assert name in [row["object_id"] for row in rows]
    table = parse_single_table(io.BytesIO(get(client, "candidates.vot"))).to_table()
    assert any(HOSTILE in str(one) for one in table["object_id"])


def test_a_light_curve_is_read_by_the_fit(
    client: TestClient, filled: Database, tmp_path: Path
) -> None:
    answer = client.get("/export/photometry.csv", params={"object": FIRST})
    assert answer.headers["content-disposition"].endswith(f'"practice-{FIRST}-light.csv"')
    file = tmp_path / "light.csv"
    file.write_bytes(answer.content)
    told = client.get(f"/api/v1/objects/{FIRST}").json()["photometry"]
    read = [(p.obs_mjd_tai, p.band, p.mag_ab, p.mag_err) for p in read_photometry(file).photometry]
    assert sorted(read, key=str) == sorted(
        (
            (p["obs_mjd_tai"], p["band"], p["mag_ab"], None if p["is_limit"] else p["mag_err"])
            for p in told
        ),
        key=str,
    )
    assert {p["is_limit"] for p in told} == {True, False}


@pytest.mark.usefixtures("filled")
def test_the_light_curve_of_nothing_is_not_found(client: TestClient) -> None:
    assert client.get("/export/photometry.csv", params={"object": "no such"}).status_code == 404
