"""TNS: the staged files as its help page describes them, and one object on demand."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from listeners import tns, tns_feed
from listeners.feed import Cursor
from listeners.http import ServiceError
from listeners.polling import HttpListener, PollSettings
from mmcoord.errors import BadInput, ConfigError
from mmcoord.records import Notice
from tests.listeners.web_service import Asked, Reply, Waits, serving

COLUMNS = [
    "objid", "name_prefix", "name", "ra", "declination", "redshift", "typeid", "type",
    "reporting_groupid", "reporting_group", "source_groupid", "source_group", "discoverydate",
    "discoverymag", "discmagfilter", "filter", "reporters", "time_received", "internal_names",
    "creationdate", "lastmodified",
]  # fmt: skip
"""As listed on TNS' help page, "Daily CSV staging"."""
OPTIONS = {"bot_id": "12345", "bot_name": "our_bot", "api_key": "k3y-never-shown"}
NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)


def row(**changes: str) -> dict[str, str]:
    values = dict.fromkeys(COLUMNS, "")
    values |= {
        "objid": "22811", "name_prefix": "AT", "name": "2017gfo", "ra": "197.450354",
        "declination": "-23.381484", "redshift": "0.009787", "typeid": "70", "type": "Kilonova",
        "reporting_group": "1M2H", "discoverydate": "2017-08-17 23:33:00", "discoverymag": "17.476",
        "reporters": "D. A. Coulter, C. D. Kilpatrick", "internal_names": "SSS17a, DLT17ck",
        "lastmodified": "2018-03-22 15:42:10",
    }  # fmt: skip
    return values | changes


def table(rows: list[dict[str, str]], preamble: str = "2026-11-23 00:00:00 - 23:59:59") -> str:
    out = io.StringIO()
    out.write(f'"{preamble}"\n')
    writer = csv.DictWriter(out, COLUMNS, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def zipped(text: str, name: str = "tns_public_objects_20261123.csv") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return out.getvalue()


def read(text: str) -> list[Any]:
    return [record for chunk in tns.chunks(text.splitlines()) for record in tns.parse(chunk)]


def test_every_column_that_matters_is_read() -> None:
    (found,) = read(table([row()]))
    assert (found.catalogue, found.identifier, found.name) == ("tns", "22811", "AT 2017gfo")
    assert (found.ra_deg, found.dec_deg) == (197.450354, -23.381484)
    assert found.names == ("SSS17a", "DLT17ck")
    assert (found.classification, found.redshift) == ("Kilonova", 0.009787)
    assert found.modified_at == datetime(2018, 3, 22, 15, 42, 10, tzinfo=UTC)
    expected = Time("2017-08-17T23:33:00", scale="utc").tai.mjd
    assert found.discovered_mjd_tai == pytest.approx(expected, abs=1e-9)
    assert found.attributes["reporters"] == "D. A. Coulter, C. D. Kilpatrick"


def test_what_is_empty_is_not_known() -> None:
    (found,) = read(table([row(type="", redshift="", discoverydate="", internal_names="")]))
    assert (found.classification, found.redshift, found.discovered_mjd_tai) == (None, None, None)
    assert found.names == ()


def test_a_bad_row_costs_only_itself() -> None:
    rows = [row(objid=str(n)) for n in range(250)]
    rows[100] = row(objid="bad", ra="400.0")
    rows[200] = row(objid="worse", declination="north")
    payloads = list(tns.chunks(table(rows).splitlines()))
    good, bad = [], []
    for payload in payloads:
        try:
            good += tns.parse(payload)
        except BadInput as error:
            bad.append(str(error))
    assert len(good) == 248
    assert len(bad) == 2
    assert any("ra" in words for words in bad)
    assert any("'north' is not a number" in words for words in bad)
    assert len(payloads) == 3 + 2


def test_equal_files_give_equal_payloads() -> None:
    text = table([row(objid=str(n)) for n in range(300)])
    assert list(tns.chunks(text.splitlines())) == list(tns.chunks(io.StringIO(text)))


@given(
    st.lists(
        st.dictionaries(st.sampled_from(COLUMNS), st.text(max_size=30), max_size=6), max_size=5
    )
)
@settings(max_examples=150, deadline=None)
def test_any_text_in_the_cells_is_read_or_refused(changes: list[dict[str, str]]) -> None:
    text = table([row(**change) for change in changes])
    for payload in tns.chunks(text.split("\n")):
        try:
            for record in tns.parse(payload):
                assert 0 <= record.ra_deg < 360
                json.dumps([record.name, record.names, dict(record.attributes)])
                record.name.encode()
        except BadInput:
            pass


@given(st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode)))
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes_are_refused_as_bad_input(payload: bytes) -> None:
    with contextlib.suppress(BadInput):
        tns.parse(payload)
    with contextlib.suppress(BadInput):
        list(tns_feed.lines_of_zip(payload))


# -- zips ---------------------------------------------------------------------------------------


def test_a_zip_is_read_line_by_line() -> None:
    text = table([row()])
    assert "".join(tns_feed.lines_of_zip(zipped(text))) == text


def test_a_zip_bomb_is_stopped_at_the_limit() -> None:
    bomb = zipped("\n".join(["0" * 1000] * 50_000))
    assert len(bomb) < 200_000
    with pytest.raises(BadInput, match="inflates to more than 1000000 bytes"):
        list(tns_feed.lines_of_zip(bomb, 1_000_000))


def test_a_line_without_end_is_stopped_too() -> None:
    with pytest.raises(BadInput, match="inflates to more than"):
        list(tns_feed.lines_of_zip(zipped("0" * 30_000_000), 1_000_000))


def test_a_damaged_zip_and_a_zip_without_a_table_are_refused() -> None:
    content = zipped(table([row()]))
    for bad in (content[: len(content) // 2], b"<html>", zipped("x", name="readme.txt")):
        with pytest.raises(BadInput, match="zip"):
            list(tns_feed.lines_of_zip(bad))


# -- the feed -----------------------------------------------------------------------------------


def names_asked(until: str, now: datetime, steps: int) -> list[str]:
    """File names in the order in which the feed wants them, each taken as found."""
    feed = tns_feed.build(OPTIONS)
    cursor: Cursor = {"until": until, "hour": until}
    found = []
    for _ in range(steps):
        request = feed.request(cursor, now)
        if request is None:
            break
        found.append(request.url.rsplit("/", 1)[1])
        cursor = request.memo.place_after(cursor)
    return found


def test_past_days_come_from_daily_files_and_today_from_hourly_ones() -> None:
    assert names_asked("2026-11-22T00:00:00+00:00", NOW, 20) == [
        "tns_public_objects_20261122.csv.zip",
        "tns_public_objects_20261123.csv.zip",
        *(f"tns_public_objects_{hour:02d}.csv.zip" for hour in range(6)),
    ]


def test_a_long_absence_begins_where_files_are_still_kept() -> None:
    first = names_asked("2026-01-01T00:00:00+00:00", NOW, 1)
    assert first == ["tns_public_objects_20261027.csv.zip"]


def test_the_login_is_sent_as_tns_wants_it_and_a_day_becomes_notices() -> None:
    def answer(asked: Asked) -> Reply:
        if parse_qs(asked.body.decode()).get("api_key") != [OPTIONS["api_key"]]:
            return Reply(401)
        if asked.path.endswith("_20261123.csv.zip"):
            return Reply(body=zipped(table([row(), row(objid="2", name="2026abc", type="")])))
        return Reply(404)

    with serving(answer) as service:
        notices, cursor, status = poll(service.url, "2026-11-23T00:00:00+00:00")
    asked = service.asked[0]
    assert asked.method == "POST"
    assert asked.path.startswith("/system/files/tns_public_objects/")
    assert json.loads(asked.headers["user-agent"].removeprefix("tns_marker")) == {
        "tns_id": 12345, "type": "bot", "name": "our_bot",
    }  # fmt: skip
    found = [record.name for notice in notices for record in tns.parse(notice.payload)]
    assert found == ["AT 2017gfo", "AT 2026abc"]
    assert cursor["until"] == "2026-11-24T00:00:00+00:00"
    assert "no file for 2026-11-24 03:00 yet" in status.last_error
    assert OPTIONS["api_key"] not in repr(status)


def poll(url: str, until: str, now: datetime = NOW) -> tuple[list[Notice], Cursor, Any]:
    """One round of the real loop from a given place."""
    kept: list[Notice] = []
    place: list[Cursor] = [{"until": until, "hour": until}]

    def write(notices: Any, cursor: Cursor | None) -> None:
        kept.extend(notices)
        place.append(cursor or place[-1])

    found = HttpListener(
        PollSettings("tns", "tns"),
        tns_feed.build({**OPTIONS, "url": url}),
        write,
        lambda: place[-1],
        now=lambda: now,
    )
    found.run(Waits(1))
    return kept, place[-1], found.status


def test_a_file_left_over_from_yesterday_is_not_taken_for_todays() -> None:
    stale = zipped(table([row()], preamble="2026-11-23 00:00:00 - 00:59:59"))
    with serving(lambda asked: Reply(body=stale)) as service:
        notices, cursor, status = poll(service.url, "2026-11-24T00:00:00+00:00")
    assert notices == []
    assert cursor["hour"] == "2026-11-24T00:00:00+00:00"
    assert "of 2026-11-23, not of 2026-11-24" in status.last_error


def test_a_day_that_is_not_staged_any_more_is_passed_and_told() -> None:
    with serving(lambda asked: Reply(404)) as service:
        _, cursor, status = poll(service.url, "2026-11-22T00:00:00+00:00")
        asked = [request.path.rsplit("_", 1)[1] for request in service.asked]
    assert asked == [f"{name}.csv.zip" for name in ("20261122", "20261123", "00", "01", "02", "03")]
    assert cursor == {"until": "2026-11-24T00:00:00+00:00", "hour": "2026-11-24T03:00:00+00:00"}
    assert "no file for 2026-11-24" in status.last_error


def test_a_day_without_changes_is_no_fault() -> None:
    now = NOW.replace(hour=0, minute=20)
    with serving(lambda asked: Reply(body=zipped("2026-11-23 00:00:00 - 23:59:59"))) as service:
        notices, cursor, status = poll(service.url, "2026-11-23T00:00:00+00:00", now)
    assert notices == []
    assert cursor["until"] == "2026-11-24T00:00:00+00:00"
    assert status.last_error == ""


def test_when_a_day_is_over_its_own_file_heals_what_the_hours_missed() -> None:
    feed = tns_feed.build(OPTIONS)
    cursor = {"until": "2026-11-23T00:00:00+00:00", "hour": "2026-11-23T22:00:00+00:00"}
    request = feed.request(cursor, NOW)
    assert request is not None
    assert request.url.endswith("_20261123.csv.zip")
    after = request.memo.place_after(cursor)
    request = feed.request(after, NOW)
    assert request is not None
    assert request.url.endswith("_00.csv.zip")


@pytest.mark.parametrize(
    "changes", [{"api_key": ""}, {"bot_id": "x"}, {"bot_name": ""}, {"url": "http://tns.org"}]
)
def test_a_missing_credential_is_a_configuration_error(changes: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="tns"):
        tns_feed.build({**OPTIONS, **changes})


# -- one object on demand -------------------------------------------------------------------------

OBJECT = {
    "id_code": 200,
    "id_message": "OK",
    "data": {
        "objname": "2017gfo", "name_prefix": "AT", "objid": 22811,
        "object_type": {"name": "Kilonova", "id": 70}, "redshift": 0.009787,
        "ra": "13:09:48.085", "dec": "-23:22:53.343", "radeg": 197.450354, "decdeg": -23.381484,
        "hostname": "NGC 4993", "internal_names": "SSS17a, DLT17ck",
        "discoverydate": "2017-08-17 23:33:00.000",
    },
}  # fmt: skip


def test_one_object_is_asked_for_by_its_bare_name() -> None:
    with serving(lambda asked: Reply(body=json.dumps(OBJECT).encode())) as service:
        with httpx.Client() as client:
            options = {**OPTIONS, "url": service.url}
            (found,) = tns.parse(tns_feed.look_up(client, options, "AT 2017gfo", NOW))
    sent = json.loads(parse_qs(service.asked[0].body.decode())["data"][0])
    assert sent["objname"] == "2017gfo"
    assert service.asked[0].path == "/api/get/object"
    assert (found.identifier, found.name, found.host) == ("22811", "AT 2017gfo", "NGC 4993")
    assert found.classification == "Kilonova"
    assert found.modified_at == NOW


def test_an_object_that_tns_does_not_know_is_refused() -> None:
    answer = {"id_code": 404, "id_message": "No results found.", "data": []}
    with serving(lambda asked: Reply(body=json.dumps(answer).encode())) as service:
        with httpx.Client() as client, pytest.raises(BadInput, match="data"):
            tns_feed.look_up(client, {**OPTIONS, "url": service.url}, "2099zzz", NOW)


def test_older_answers_wrap_the_object_in_a_reply() -> None:
    wrapped = {**OBJECT, "data": {"reply": OBJECT["data"]}}
    assert tns.parse(json.dumps(wrapped).encode()) == tns.parse(json.dumps(OBJECT).encode())


def test_a_search_gives_names() -> None:
    reply = {"data": [{"objname": "2017gfo", "prefix": "AT", "objid": 22811}]}
    with serving(lambda asked: Reply(body=json.dumps(reply).encode())) as service:
        with httpx.Client() as client:
            options = {**OPTIONS, "url": service.url}
            assert tns_feed.search(client, options, 197.45, -23.38, 5.0) == ["AT 2017gfo"]


def test_the_quota_is_told_with_the_time_to_wait() -> None:
    headers = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": "33"}
    with serving(lambda asked: Reply(429, headers=headers)) as service:
        with httpx.Client() as client, pytest.raises(ServiceError, match="too often") as caught:
            tns_feed.look_up(client, {**OPTIONS, "url": service.url}, "2017gfo", NOW)
    assert caught.value.wait_s == 33.0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(OBJECT["data"])), json_values)
@settings(max_examples=150, deadline=None)
def test_any_value_in_an_object_is_read_or_refused(key: str, value: Any) -> None:
    changed = {**OBJECT, "data": {**OBJECT["data"], key: value}}  # type: ignore[dict-item]
    with contextlib.suppress(BadInput):
        tns.parse(json.dumps(changed).encode())


def test_hours_after_midnight_belong_to_the_new_day() -> None:
    midnight = datetime(2026, 11, 24, tzinfo=UTC)
    assert names_asked((midnight - timedelta(hours=1)).isoformat(), midnight, 9) == []
    later = midnight + timedelta(minutes=15)
    assert names_asked((midnight - timedelta(hours=1)).isoformat(), later, 9) == [
        "tns_public_objects_20261123.csv.zip"
    ]
