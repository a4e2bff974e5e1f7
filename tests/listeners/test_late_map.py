"""The envelope of a fetched map: what goes in comes out, and nothing else is taken for one."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listeners import gcn_unified, igwn
from listeners.late_map import SOURCE, envelope, offset, parse
from mmcoord.errors import BadNotice
from mmcoord.records import AlertType, LateMap

LATE = LateMap(
    "S260301a",
    AlertType.INITIAL,
    datetime(2026, 3, 1, 2, 35, tzinfo=UTC),
    "https://gracedb.ligo.org/api/superevents/S260301a/files/bayestar.multiorder.fits",
    b"SIMPLE  = \x00\xff",
)


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(envelope(LATE)), **fields}).encode()


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="|\0"), min_size=1, max_size=200),
    st.sampled_from(AlertType),
    st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
    st.integers(-14, 14),
    st.binary(min_size=1, max_size=300),
)
def test_what_goes_in_comes_out(
    event_id: str, kind: AlertType, created: datetime, zone: int, fits: bytes
) -> None:
    from datetime import timezone

    time = created.replace(tzinfo=timezone(timedelta(hours=zone)))
    late = LateMap(event_id, kind, time, "https://a.example.org/x", fits)
    assert SOURCE.parse(envelope(late)) == [late]


def test_the_offset_is_one_of_the_content_and_fits_the_store() -> None:
    other = LateMap(LATE.event_id, LATE.alert_type, LATE.time_created, LATE.url, b"SIMPLE  = \x01")
    assert offset(envelope(LATE)) == offset(envelope(LATE)) != offset(envelope(other))
    assert 0 <= offset(envelope(LATE)) < 2**63


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        (b"", "payload"),
        (b"[]", "payload"),
        (b"{}", "mmcoord"),
        (changed(mmcoord="plan"), "mmcoord"),
        (changed(event_id=""), "event_id"),
        (changed(event_id="a|b"), "event_id"),
        (changed(event_id="a" * 300), "event_id"),
        (changed(alert_type="initial"), "alert_type"),
        (changed(alert_type=None), "alert_type"),
        (changed(time_created="yesterday"), "time_created"),
        (changed(url=7), "url"),
        (changed(fits="?"), "fits"),
        (changed(fits=""), "fits"),
    ],
)
def test_a_broken_envelope_says_which_field(payload: bytes, where: str) -> None:
    with pytest.raises(BadNotice) as caught:
        parse(payload)
    assert caught.value.where == where


@given(
    st.binary(max_size=200)
    | st.dictionaries(st.text(), st.integers()).map(json.dumps).map(str.encode)
)
def test_nothing_but_bad_notice_is_raised(payload: bytes) -> None:
    with pytest.raises(BadNotice):
        parse(payload)


def test_a_file_larger_than_any_notice_is_read() -> None:
    fits = b"SIMPLE" + bytes(9 * 2**20)  # other notices end at 8 MiB
    late = LateMap(LATE.event_id, LATE.alert_type, LATE.time_created, LATE.url, fits)
    assert parse(envelope(late))[0].fits == fits


def test_no_other_listener_takes_it_for_its_own() -> None:
    for other in (igwn, gcn_unified):
        with pytest.raises(BadNotice):
            other.parse(envelope(LATE))
    assert base64.b64encode(LATE.fits) in envelope(LATE)
