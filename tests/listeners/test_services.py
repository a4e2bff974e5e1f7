"""ALeRCE, AMPEL, Pitt-Google and YSE-PZ: shapes of their own clients and servers, read over HTTP.

None of these can be reached from a test. The shapes are those of: alerce 2.3.1 (client) and its
documentation; Ampel-LSST-archive (server models) and Ampel-LSST's loader; pittgoogle-client's
list of streams; davecoulter/YSE_PZ (serializer, filters).
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listeners import ysepz
from listeners.brokers import alerce, ampel, pittgoogle
from listeners.feed import Cursor, Feed
from listeners.polling import HttpListener, PollSettings
from listeners.vetoes import Vetoes
from mmcoord.errors import BadInput, ConfigError
from mmcoord.records import Candidate, KnownTransient, Notice, Photometry, Vetoed
from mmcoord.timescales import mjd_tai
from tests.listeners.web_service import Asked, Reply, Waits, serving

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
MJD = mjd_tai(NOW)
OID = 170028485864063195


def poll(
    feed: Feed, cursor: Cursor | None = None, rounds: int = 1, now: datetime = NOW
) -> tuple[list[Notice], Cursor, Any]:
    """Some rounds of the real loop, with a store in memory."""
    kept: dict[tuple[str, int], Notice] = {}
    place = [cursor]

    def write(notices: Sequence[Notice], further: Cursor | None) -> None:
        for notice in notices:
            kept.setdefault((notice.topic, notice.offset), notice)
        if further is not None:
            place.append(json.loads(json.dumps(further)))  # as the store keeps it

    found = HttpListener(PollSettings("x", "x"), feed, write, lambda: place[-1], now=lambda: now)
    found.run(Waits(rounds))
    return list(kept.values()), place[-1] or {}, found.status


def json_reply(document: Any) -> Reply:
    return Reply(body=json.dumps(document).encode())


# -- ALeRCE ------------------------------------------------------------------------------


def alerce_row(oid: int = OID, lastmjd: float = MJD - 0.5, **changes: Any) -> dict[str, Any]:
    return {
        "oid": oid, "meanra": 150.5, "meandec": -20.25, "firstmjd": 61000.0, "lastmjd": lastmjd,
        "n_det": 4, "n_forced": 9, "class_name": "SN", "probability": 0.91,
        "classifier_name": "stamp_classifier_rubin", "classifier_version": "2.0.1",
    } | changes  # fmt: skip


def alerce_detection(mjd: float, flux: float, **changes: Any) -> dict[str, Any]:
    names = {"0": "u", "1": "g", "2": "r", "3": "i", "4": "z", "5": "y"}
    return {
        "oid": OID, "measurement_id": 5, "mjd": mjd, "band": 2, "band_map": names,
        "psfFlux": flux, "psfFluxErr": 100, "ssObjectId": 0,
    } | changes  # fmt: skip


CURVE = {
    "detections": [alerce_detection(61000.25, 10_000), alerce_detection(61002.25, 20_000.0)],
    "non_detections": [],
    "forced_photometry": [alerce_detection(60999.25, 50.0, band=1)],
}


def alerce_server(rows: list[dict[str, Any]]) -> Callable[[Asked], Reply]:
    """The list by last date, ascending, and a light curve for everybody."""

    def answer(asked: Asked) -> Reply:
        if asked.path == "/lightcurve_api/lightcurve":
            return json_reply(CURVE)
        assert asked.path == "/object_api/list_objects"
        low, high = (float(v) for k, v in asked.query if k == "lastmjd")
        assert asked.get("order_mode") == "ASC"
        wanted = sorted(
            (r for r in rows if low <= r["lastmjd"] <= high), key=lambda r: r["lastmjd"]
        )
        size, page = int(asked.get("page_size")), int(asked.get("page"))
        return json_reply({"items": wanted[(page - 1) * size : page * size]})

    return answer


def test_alerce_lists_objects_and_then_their_light_curves() -> None:
    rows = [alerce_row(), alerce_row(class_name="AGN", classifier_name="other")]
    with serving(alerce_server(rows)) as service:
        notices, _, status = poll(alerce.build({"url": service.url, "classifier": "c"}))
        assert service.asked[0].get("survey") == "lsst"
        assert service.asked[0].get("classifier") == "c"
        assert service.asked[1].query == [("survey_id", "lsst"), ("oid", str(OID))]
    assert status.last_error == ""
    records = [record for notice in notices for record in alerce.parse(notice.payload)]
    (candidate,) = [r for r in records if isinstance(r, Candidate)]
    assert (candidate.object_id, candidate.ra_deg, candidate.dec_deg) == (str(OID), 150.5, -20.25)
    assert candidate.attributes["classes"]["stamp_classifier_rubin"]["probability"] == 0.91
    assert set(candidate.attributes["classes"]) == {"stamp_classifier_rubin", "other"}
    points = {p.obs_mjd_tai: p for p in records if isinstance(p, Photometry)}
    # 10,000 nJy is 31.4 - 2.5 * 4 = 21.4 mag; 2.5 / ln 10 per relative error.
    assert points[61000.25].mag_ab == pytest.approx(21.4)
    assert points[61000.25].mag_err == pytest.approx(2.5 / 2.302585093 * 0.01)
    assert points[61000.25].band == "lsst:r"
    assert points[60999.25].is_limit
    assert points[60999.25].band == "lsst:g"
    assert points[60999.25].mag_ab == pytest.approx(31.4 - 2.5 * 2.69897)  # log10(5 * 100)


def test_alerce_objects_of_one_exposure_are_all_found_however_many() -> None:
    """2,500 objects share one time, in pages of 1,000."""
    rows = [alerce_row(OID + n, MJD - 0.5) for n in range(2500)]
    rows += [alerce_row(OID + 5000 + n, MJD - 0.25) for n in range(10)]
    with serving(alerce_server(rows)) as service:
        feed = alerce.build({"url": service.url, "light_curves": False})
        notices, _, _ = poll(feed)
    assert len({json.loads(n.payload)["oid"] for n in notices}) == 2510


def test_alerce_asks_no_light_curve_twice_for_an_object_that_did_not_change() -> None:
    with serving(alerce_server([alerce_row(), alerce_row(OID + 1, MJD - 0.4)])) as service:
        poll(alerce.build({"url": service.url}), rounds=3)
        curves = [a.get("oid") for a in service.asked if a.path.startswith("/lightcurve")]
        lists = [a for a in service.asked if a.path.startswith("/object")]
    assert sorted(curves) == [str(OID), str(OID + 1)]
    assert len(lists) == 3


def test_an_empty_list_never_moves_alerces_place() -> None:
    with serving(lambda asked: json_reply({"items": []})) as service:
        feed = alerce.build({"url": service.url})
        start = feed.start(NOW)
        _, cursor, _ = poll(feed, start)
    assert cursor == start or cursor["from"] == start["from"]


def test_a_moving_object_of_alerce_is_left_out_when_that_is_wanted() -> None:
    curve = {"detections": [alerce_detection(61000.0, 1e4, ssObjectId=77)]}
    payload = json.dumps({"oid": str(OID), "lightcurve": curve}).encode()
    (veto,) = alerce.sift(payload, Vetoes())
    assert isinstance(veto, Vetoed)
    assert veto.veto == "moving"
    assert all(isinstance(r, Photometry) for r in alerce.sift(payload, Vetoes(moving=False)))


# -- AMPEL -------------------------------------------------------------------------------


def lsst_alert(source_id: int, mjd: float, **changes: Any) -> dict[str, Any]:
    source = {
        "diaSourceId": source_id, "visit": 1, "diaObjectId": OID + source_id, "ssObjectId": 0,
        "midpointMjdTai": mjd, "ra": 150.5, "dec": -20, "band": "r", "psfFlux": 10_000,
        "psfFluxErr": 100, "reliability": 0.9,
    }  # fmt: skip
    alert = {
        "diaSourceId": source_id,
        "diaSource": source | changes,
        "prvDiaSources": None,
        "prvDiaForcedSources": [
            {"midpointMjdTai": mjd - 1, "band": "g", "psfFlux": 50, "psfFluxErr": 100}
        ],
        "diaObject": {"diaObjectId": OID + source_id, "ra": 150.5, "dec": -20.0},
    }
    return alert


def ampel_server(alerts: list[dict[str, Any]]) -> Callable[[Asked], Reply]:
    """Understands the window of the condition; the limit cuts an arbitrary order."""

    def answer(asked: Asked) -> Reply:
        assert asked.path == "/display/alerts/query"
        query = json.loads(asked.body)
        begin, end = (float(word) for word in query["condition"].split()[2:7:4])
        inside = [a for a in alerts if begin <= a["diaSource"]["midpointMjdTai"] < end]
        return json_reply(inside[::-1][: query["limit"]])

    return answer


def test_ampel_windows_shrink_until_nothing_is_cut_off() -> None:
    alerts = [lsst_alert(n, MJD - 0.9 + 0.00001 * n) for n in range(1000)]
    with serving(ampel_server(alerts)) as service:
        feed = ampel.build({"url": service.url, "limit": 50, "token": "t0ken"})
        notices, cursor, status = poll(feed)
        assert service.asked[0].headers["authorization"] == "Bearer t0ken"
        assert "diaSource.reliability > 0.5" in json.loads(service.asked[0].body)["condition"]
    assert {json.loads(n.payload)["diaSourceId"] for n in notices} == set(range(1000))
    assert cursor["from"] == pytest.approx(MJD - 30 / 1440, abs=2 / 86400)
    assert status.last_error == ""


def test_an_alert_of_ampel_is_read_as_rubin_means_it() -> None:
    payload = json.dumps(lsst_alert(7, 61000.5)).encode()
    candidate, *points = ampel.parse(payload)
    assert isinstance(candidate, Candidate)
    assert (candidate.object_id, candidate.source) == (str(OID + 7), "ampel")
    by_band = {p.band: p for p in points if isinstance(p, Photometry)}
    assert by_band["lsst:r"].mag_ab == pytest.approx(21.4)
    assert by_band["lsst:g"].is_limit


def test_too_many_alerts_in_a_second_are_told() -> None:
    alerts = [lsst_alert(n, MJD - 0.5) for n in range(60)]
    with serving(ampel_server(alerts)) as service:
        notices, _, status = poll(ampel.build({"url": service.url, "limit": 50}))
    assert len(notices) == 50
    assert "some are left out" in status.last_error


# -- Pitt-Google -------------------------------------------------------------------------


def test_pittgoogles_json_is_read() -> None:
    candidate, *points = pittgoogle.parse(json.dumps(lsst_alert(7, 61000.5)).encode())
    assert isinstance(candidate, Candidate)
    assert candidate.source == "pittgoogle"
    assert len(points) == 2


@pytest.mark.parametrize("source", [ampel, pittgoogle])
def test_a_moving_object_of_a_json_service_is_vetoed_with_its_number(source: Any) -> None:
    alert = lsst_alert(7, 61000.5)
    alert["diaSource"]["ssObjectId"] = 21163624394469969
    payload = json.dumps(alert).encode()
    (vetoed,) = source.sift(payload, Vetoes())
    assert isinstance(vetoed, Vetoed)
    assert vetoed.veto == "moving"
    assert "21163624394469969" in vetoed.detail
    kept = source.sift(payload, Vetoes(moving=False))
    assert isinstance(kept[0], Candidate)


def test_pittgoogle_leaves_rubins_framing_to_rubins_reader() -> None:
    with pytest.raises(BadInput, match="schema id"):
        pittgoogle.parse(b"\x00" + (100).to_bytes(4, "big") + b"rest")
    with pytest.raises(BadInput):
        pittgoogle.parse(b"Obj\x01rubbish")


# -- YSE-PZ ------------------------------------------------------------------------------


def transient(number: int, modified: str, **changes: Any) -> dict[str, Any]:
    base = "https://ziggy.example.org/yse/api"
    return {
        "url": f"{base}/transients/{number}/", "name": f"2026ab{number}", "ra": 10.5, "dec": -5.25,
        "status": f"{base}/transientstatuses/3/", "disc_date": "2026-11-20T05:00:00Z",
        "redshift": 0.05, "redshift_err": None, "TNS_spec_class": "SN Ia", "mw_ebv": 0.03,
        "host": f"{base}/hosts/1/", "tags": [], "modified_date": modified,
    } | changes  # fmt: skip


def yse_server(rows: list[dict[str, Any]]) -> Callable[[Asked], Reply]:
    def answer(asked: Asked) -> Reply:
        login = base64.b64encode(b"me:pa55").decode()
        if asked.headers.get("authorization") != f"Basic {login}":
            return Reply(401)
        wanted = [r for r in rows if r["modified_date"] >= asked.get("modified_date_gte")]
        at, size = int(asked.get("offset")), int(asked.get("limit"))
        further = f"http://elsewhere/?offset={at + size}" if at + size < len(wanted) else None
        return json_reply(
            {"count": len(wanted), "next": further, "results": wanted[at : at + size]}
        )

    return answer


LOGIN = {"username": "me", "password": "pa55"}


def test_yse_pz_is_read_page_by_page_and_from_there_on() -> None:
    rows = [transient(n, f"2026-11-2{n % 4}T00:00:00.{n:06d}Z") for n in range(1, 251)]
    with serving(yse_server(rows)) as service:
        notices, cursor, status = poll(ysepz.build({"url": service.url, **LOGIN}), rounds=2)
        assert all(asked.path == "/api/transients/" for asked in service.asked)
        offsets = [asked.get("offset") for asked in service.asked]
    assert offsets == ["0", "100", "200", "0"]
    assert len(notices) == 250
    assert cursor["since"] == max(r["modified_date"] for r in rows)
    assert status.last_error == ""


def test_a_transient_of_yse_pz_is_a_known_transient() -> None:
    (found,) = ysepz.parse(json.dumps(transient(7, "2026-11-21T01:02:03Z")).encode())
    assert isinstance(found, KnownTransient)
    assert (found.catalogue, found.identifier, found.name) == ("ysepz", "7", "2026ab7")
    assert (found.classification, found.redshift) == ("SN Ia", 0.05)
    assert found.modified_at == datetime(2026, 11, 21, 1, 2, 3, tzinfo=UTC)


def test_a_date_in_the_future_does_not_shut_yse_pz_out() -> None:
    with serving(yse_server([transient(1, "2999-01-01T00:00:00Z")])) as service:
        feed = ysepz.build({"url": service.url, **LOGIN})
        start = feed.start(NOW)
        _, cursor, _ = poll(feed, start)
    assert cursor["since"] == start["since"]


def test_a_wrong_password_of_yse_pz_is_told_without_it() -> None:
    with serving(yse_server([])) as service:
        wrong = {"url": service.url, "username": "me", "password": "wr0ng-secret"}
        _, _, status = poll(ysepz.build(wrong))
    assert "login refused" in status.last_error
    assert "wr0ng" not in repr(status)


def test_credentials_and_addresses_are_demanded() -> None:
    with pytest.raises(ConfigError, match="ysepz"):
        ysepz.build({"username": "me"})
    for build in (alerce.build, ampel.build):
        with pytest.raises(ConfigError, match="url"):
            build({"url": "http://example.org"})


# -- all of them -------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
GOOD: list[tuple[Callable[[bytes], Any], dict[str, Any]]] = [
    (alerce.parse, {"oid": str(OID), "rows": [alerce_row()]}),
    (alerce.parse, {"oid": str(OID), "lightcurve": CURVE}),
    (ampel.parse, lsst_alert(7, 61000.5)),
    (pittgoogle.parse, lsst_alert(7, 61000.5)),
    (ysepz.parse, transient(7, "2026-11-21T01:02:03Z")),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(p for key, item in inner for p in places(item, (*path, key)))]


@given(st.data(), st.sampled_from(range(len(GOOD))), json_values)
@settings(max_examples=400, deadline=None)
def test_any_value_anywhere_is_read_or_refused(data: st.DataObject, which: int, value: Any) -> None:
    parse, good = GOOD[which]
    document = json.loads(json.dumps(good))
    *way, last = data.draw(st.sampled_from(places(good)[1:]))
    target = document
    for step in way:
        target = target[step]
    target[last] = value
    try:
        for record in parse(json.dumps(document).encode()):
            json.dumps(getattr(record, "attributes", None) and dict(record.attributes))
    except BadInput:
        pass


@given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode)))
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes_are_refused(payload: bytes) -> None:
    for parse, _ in GOOD:
        with contextlib.suppress(BadInput):
            parse(payload)
