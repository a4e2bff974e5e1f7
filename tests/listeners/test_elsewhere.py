"""Treasure Map and Hermes: what others observe, over HTTP and from messages."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listeners import hermes, treasuremap
from listeners.feed import Cursor
from listeners.polling import HttpListener, PollSettings
from mmcoord.errors import BadInput, ConfigError
from mmcoord.records import Notice
from mmcoord.timescales import mjd_tai
from tests.listeners.web_service import Reply, Waits, serving

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
WHEN = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def pointing(**changes: Any) -> bytes:
    """As ``PointingSchema`` of the Treasure Map gives it."""
    document = {
        "id": 4711,
        "position": "POINT (197.45 -23.38)",
        "ra": None,
        "dec": None,
        "instrumentid": 38,
        "depth": 22.5,
        "depth_err": None,
        "depth_unit": "ab_mag",
        "band": "i",
        "pos_angle": 0.0,
        "time": "2026-11-24T03:00:00",
        "status": "completed",
        "central_wave": 7840.0,
        "bandwidth": 1530.0,
        "instrument_name": "DECam",
        "username": "somebody",
    }
    return json.dumps(document | changes).encode()


def test_a_pointing_of_the_treasure_map() -> None:
    (found,) = treasuremap.parse(pointing())
    assert (found.ra_deg, found.dec_deg) == (197.45, -23.38)
    assert (found.who, found.status, found.band) == ("DECam", "completed", "sdss:i")
    assert found.depth_mag == 22.5
    assert found.obs_mjd_tai == pytest.approx(mjd_tai(WHEN), abs=1e-9)
    assert found.radius_deg is None
    (planned,) = treasuremap.parse(
        pointing(status="planned", position=None, ra=-1.0, dec=5, depth=None, band="clear")
    )
    assert (planned.ra_deg, planned.depth_mag, planned.band) == (359.0, None, None)


def test_other_units_and_other_light_are_not_taken_for_magnitudes() -> None:
    assert treasuremap.parse(pointing(depth_unit="flux_erg"))[0].depth_mag is None
    assert treasuremap.parse(pointing(band="XRT")) == []


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"status": "dreamt"}, "status"),
        ({"position": "POINT (a b)"}, "position"),
        ({"position": "POINT (10 91)"}, "dec"),
        ({"time": None}, "time"),
        ({"id": True}, "id"),
        ({"depth": "deep"}, "depth"),
    ],
)
def test_a_broken_pointing_says_what_and_where(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(BadInput, match=where):
        treasuremap.parse(pointing(**changes))


@given(
    st.dictionaries(
        st.sampled_from(["id", "position", "ra", "dec", "status", "band", "time", "depth"]),
        st.none() | st.booleans() | st.floats() | st.text(max_size=20) | st.integers(),
    )
)
def test_nothing_but_bad_input_escapes(changes: dict[str, Any]) -> None:
    for parse in (treasuremap.parse, hermes.parse):
        with contextlib.suppress(BadInput):
            parse(pointing(**changes))


def test_completed_and_planned_are_asked_for_in_turn_with_the_token_in_a_header() -> None:
    asked = []

    def answer(request: Any) -> Reply:
        asked.append(request)
        kind = "completed" if "completed_after" in dict(request.query) else "planned"
        number = 1 if kind == "completed" else 2
        return Reply(body=b"[" + pointing(id=number, status=kind) + b"]")

    kept: list[Notice] = []
    places: list[Cursor] = []

    def write(notices: Sequence[Notice], further: Cursor | None) -> None:
        kept.extend(notices)
        if further is not None:
            places.append(json.loads(json.dumps(further)))

    with serving(answer) as service:
        feed = treasuremap.build({"url": service.url, "token": "secret", "fields_deg": {"38": 1.1}})
        listener = HttpListener(
            PollSettings("x", "treasuremap"),
            feed,
            write,
            lambda: places[-1] if places else None,
            now=lambda: NOW,
        )
        listener.run(Waits(1))
    assert ["completed_after" in dict(r.query) for r in asked[:2]] == [True, False]
    assert all("secret" not in str(r.query) for r in asked)
    assert asked[0].headers["api_token"] == "secret"
    records = [record for notice in kept for record in treasuremap.parse(notice.payload)]
    assert {(r.key, r.status, r.radius_deg) for r in records} == {
        ("1", "completed", 1.1),
        ("2", "planned", 1.1),
    }
    assert places[-1] == {"status": "completed", "since": "2026-11-23T18:00:00"}


def test_the_feed_fails_soft_and_asks_again_from_the_same_place() -> None:
    replies = iter([Reply(status=500), Reply(body=b"<html>")])
    places: list[Cursor] = []
    with serving(lambda request: next(replies, Reply(body=b"[]"))) as service:
        listener = HttpListener(
            PollSettings("x", "treasuremap"),
            treasuremap.build({"url": service.url, "token": "t"}),
            lambda notices, further: places.append(further) if further else None,
            lambda: None,
            now=lambda: NOW,
        )
        listener.run(Waits(3))
    # After the third answer, which could be read; nothing between then and now is skipped.
    assert places[0] == {"status": "planned", "since": "2026-11-21T06:00:00"}


def test_a_token_and_real_radii_are_needed() -> None:
    with pytest.raises(ConfigError, match="token"):
        treasuremap.build({})
    with pytest.raises(ConfigError, match="fields_deg"):
        treasuremap.build({"token": "t", "fields_deg": {"38": -1}})


def message(**point: Any) -> bytes:
    given = {
        "target_name": "AT2026abc",
        "date_obs": "2026-11-24T03:00:00",
        "bandpass": "r",
        "telescope": "SOAR",
        "brightness": 21.3,
        "brightness_error": 0.1,
        "brightness_unit": "AB mag",
    }
    return json.dumps(
        {
            "uuid": "0c8a",
            "title": "photometry",
            "topic": "hermes.test",
            "submitter": "somebody",
            "data": {
                "targets": [{"name": "AT2026abc", "ra": "197.45", "dec": -23.381}],
                "photometry": [given | point],
            },
        }
    ).encode()


def test_photometry_of_a_hermes_message() -> None:
    (found,) = hermes.parse(message())
    assert (found.key, found.who, found.band) == ("0c8a#0", "SOAR", "sdss:r")
    assert (found.ra_deg, found.dec_deg, found.radius_deg) == (197.45, -23.381, 0.0)
    assert found.object_name == "AT2026abc"
    assert found.depth_mag == 21.3
    for same in (61368.125, "61368.125", 2461368.625):
        assert hermes.parse(message(date_obs=same))[0].obs_mjd_tai == pytest.approx(
            mjd_tai(WHEN), abs=1e-7
        )
    assert hermes.parse(message(brightness_unit="mJy"))[0].depth_mag is None
    assert hermes.parse(json.dumps({"title": "t", "data": {}}).encode()) == []


def test_a_declination_that_hermes_would_read_as_hours_is_refused() -> None:
    broken = json.loads(message())
    broken["data"]["targets"][0]["dec"] = "-01:30:00"
    with pytest.raises(BadInput, match="decimal degrees"):
        hermes.parse(json.dumps(broken).encode())
    with pytest.raises(BadInput, match="targets"):
        hermes.parse(message(target_name="another"))
