"""A practice night: readable by the listeners, marked as practice, calibrated, repeatable."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats

import skymaps
from listeners import igwn, table
from mmcoord.inference.models import registry
from mmcoord.inference.passbands import passbands
from mmcoord.records import Alert, AlertType, Candidate, Photometry
from mmcoord.simulate.night import Night, make_night
from mmcoord.simulate.objects import Kind, redshift_of
from mmcoord.timescales import mjd_tai

EVENT = datetime(2026, 11, 22, 15, 30, 12, 345000, tzinfo=UTC)
T0 = mjd_tai(EVENT)


@dataclass(frozen=True)
class Parsed:
    """A night as the listeners see it."""

    alerts: tuple[tuple[datetime, Alert], ...]
    candidates: tuple[tuple[datetime, Candidate], ...]
    points: tuple[tuple[datetime, Photometry], ...]


def parsed(night: Night) -> Parsed:
    return Parsed(
        tuple((m.sent_at, a) for m in night if m.source == "igwn" for a in igwn.parse(m.payload)),
        tuple(
            (m.sent_at, c)
            for m in night
            if m.source == "table_candidates"
            for c in table.parse_candidate(m.payload)
        ),
        tuple(
            (m.sent_at, p)
            for m in night
            if m.source == "table_photometry"
            for p in table.parse_photometry(m.payload)
        ),
    )


@pytest.fixture(scope="module")
def night() -> Night:
    return make_night(7, event_time=EVENT, n_candidates=400)


@pytest.fixture(scope="module")
def read(night: Night) -> Parsed:
    return parsed(night)


def test_every_message_is_read_by_its_listener(night: Night, read: Parsed) -> None:
    assert Counter(m.source for m in night).keys() == {
        "igwn", "table_candidates", "table_photometry",
    }  # fmt: skip
    total = len(read.alerts) + len(read.candidates) + len(read.points)
    assert total == len(night.messages)


def test_three_revisions_of_one_mock_superevent(night: Night, read: Parsed) -> None:
    alerts = [alert for _, alert in read.alerts]
    assert [a.alert_type for a in alerts] == [
        AlertType.PRELIMINARY, AlertType.INITIAL, AlertType.UPDATE,
    ]  # fmt: skip
    assert {a.event_id for a in alerts} == {night.truth.event_id}
    assert alerts == sorted(alerts, key=lambda a: a.order_key)
    for sent_at, alert in read.alerts:
        assert alert.event_time == EVENT
        assert EVENT < alert.time_created <= sent_at < EVENT + timedelta(minutes=15)
        assert alert.significant
        assert alert.classification["BNS"] > 0.9
        assert sum(alert.classification.values()) == pytest.approx(1.0)


def test_everything_is_marked_as_practice(read: Parsed) -> None:
    assert all(alert.is_practice and alert.search == "MDC" for _, alert in read.alerts)
    assert all(alert.event_id.startswith("MS") for _, alert in read.alerts)
    assert all(candidate.is_practice for _, candidate in read.candidates)
    for _, alert in read.alerts:
        assert alert.skymap_fits is not None
        header = skymaps.load(alert.skymap_fits).header
        assert header["ORIGIN"] == "practice"
        assert "approximate" in header["NOTE"]


def test_the_maps_load_in_three_dimensions_and_shrink(night: Night, read: Parsed) -> None:
    maps = [skymaps.load(alert.skymap_fits) for _, alert in read.alerts if alert.skymap_fits]
    areas = [skymaps.credible_area_deg2(m, 0.9) for m in maps]
    assert areas == sorted(areas, reverse=True)
    assert 30 < areas[-1] < 100
    assert areas[0] < 600
    assert all(m.is_3d and not m.repairs for m in maps)
    assert maps[-1].content_id == night.skymap.content_id
    assert maps[-1].header["DISTMEAN"] == pytest.approx(skymaps.distance_summary(maps[-1])[0])


def test_messages_come_in_time_order_and_none_before_its_observation(
    night: Night, read: Parsed
) -> None:
    times = [message.sent_at for message in night]
    assert times == sorted(times)
    introduced: set[str] = set()
    for message in night:
        if message.source == "table_candidates":
            introduced |= {c.object_id for c in table.parse_candidate(message.payload)}
        elif message.source == "table_photometry":
            assert {p.object_id for p in table.parse_photometry(message.payload)} <= introduced
    for sent_at, point in read.points:
        delay_s = (mjd_tai(sent_at) - point.obs_mjd_tai) * 86400
        assert delay_s > 59.9
        assert point.is_limit or delay_s < 120.1


def test_the_same_seed_gives_the_same_bytes_and_another_another_night() -> None:
    one, again, other = (make_night(s, event_time=EVENT, n_candidates=60) for s in (3, 3, 4))
    assert one.messages == again.messages
    assert one.truth == again.truth
    assert one.truth.event_id != other.truth.event_id
    assert one.truth.parameters != other.truth.parameters


def test_the_truth_is_told_by_no_message(night: Night) -> None:
    told = b"".join(message.payload for message in night if message.source != "igwn")
    assert b"kilonova" not in told
    assert all(str(kind).encode() not in told for kind in Kind)
    # The kilonova is neither first nor last by name in every night.
    places = {
        sorted(n.truth.kinds).index(n.truth.kilonova_id)
        for n in (make_night(s, event_time=EVENT, n_candidates=20) for s in range(4))
    }
    assert len(places) > 1


def test_the_night_holds_one_kilonova_one_afterglow_and_all_the_others(
    night: Night, read: Parsed
) -> None:
    kinds = Counter(night.truth.kinds.values())
    assert sum(kinds.values()) == 400
    assert kinds[Kind.KILONOVA] == kinds[Kind.AFTERGLOW] == 1
    assert all(kinds[kind] > 0 for kind in Kind)
    assert {c.object_id for _, c in read.candidates} == set(night.truth.kinds)
    assert len(read.candidates) == 400


def history(read: Parsed, object_id: str) -> list[Photometry]:
    return [point for _, point in read.points if point.object_id == object_id]


def test_each_kind_looks_like_itself(night: Night, read: Parsed) -> None:
    points: dict[str, list[Photometry]] = {name: [] for name in night.truth.kinds}
    for _, point in read.points:
        points[point.object_id].append(point)
    for name, kind in night.truth.kinds.items():
        seen = [p for p in points[name] if not p.is_limit]
        before = [p for p in seen if p.obs_mjd_tai < T0]
        assert seen
        if kind in (Kind.KILONOVA, Kind.AFTERGLOW):
            assert not before
            assert [p for p in points[name] if p.is_limit]
        elif kind is Kind.SINGLE:
            assert len(seen) == 1
        elif kind is Kind.STEADY and min(p.mag_ab for p in seen) < 21:
            assert before
            reds = [(p.mag_ab, p.mag_err) for p in seen if p.band == "lsst:r" and p.mag_err]
            spread = [(mag - reds[0][0]) / np.hypot(err, reds[0][1]) for mag, err in reds]
            assert np.abs(spread).max() < 5
    risers = [
        name
        for name, kind in night.truth.kinds.items()
        if kind is Kind.SUPERNOVA_IA
        and not any(p.obs_mjd_tai < T0 for p in points[name] if not p.is_limit)
    ]
    assert risers  # some supernovae appear after the event, and must be told apart otherwise


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_the_kilonovas_points_are_its_models_within_their_errors(seed: int) -> None:
    """Times, bands, distance and noise survive the way into the payloads."""
    night = make_night(seed, event_time=EVENT, n_candidates=2)
    truth, read = night.truth, parsed(night)
    points = [p for p in history(read, truth.kilonova_id) if not p.is_limit]
    assert len(points) >= 3
    bands = tuple(sorted({p.band for p in points}))
    model = registry.load(truth.model)
    expected = model.magnitudes(
        np.array([[truth.parameters[p.name] for p in model.parameters]]),
        np.array([truth.distance_mpc]),
        redshift_of(np.array([truth.distance_mpc])),
        np.array([p.obs_mjd_tai - T0 for p in points]),
        np.array([bands.index(p.band) for p in points]),
        passbands(bands),
    )[0]
    pulls = [(p.mag_ab - m) / p.mag_err for p, m in zip(points, expected, strict=True) if p.mag_err]
    assert np.abs(pulls).max() < 4.5
    assert stats.chi2.sf(np.square(pulls).sum(), len(pulls)) > 1e-3


def test_the_kilonovas_host_lies_at_its_distance(night: Night, read: Parsed) -> None:
    host = next(c for _, c in read.candidates if c.object_id == night.truth.kilonova_id)
    true = float(redshift_of(np.array([night.truth.distance_mpc]))[0])
    assert host.redshift == pytest.approx(true, abs=5e-3)
    assert host.redshift_err == 0.001
    assert host.ra_deg == pytest.approx(night.truth.ra_deg, abs=1e-6)
    assert host.dec_deg == pytest.approx(night.truth.dec_deg, abs=1e-6)


@pytest.mark.long
def test_over_many_nights_the_credible_levels_of_the_truth_are_uniform() -> None:
    """What "90 % credible" means: 9 in 10 true kilonovae lie inside."""
    flat, volume = [], []
    for seed in range(40):
        night = make_night(seed, event_time=EVENT, n_candidates=2)
        truth = night.truth
        found = skymaps.match(
            night.skymap,
            np.array([truth.ra_deg]),
            np.array([truth.dec_deg]),
            np.array([truth.distance_mpc]),
            np.array([1e-3 * truth.distance_mpc]),
        )
        flat.append(float(found.credible_level_2d[0]))
        volume.append(float(found.credible_level_3d[0]))
    for levels in (flat, volume):
        assert stats.kstest(levels, "uniform").pvalue > 1e-3
        inside = int(np.count_nonzero(np.array(levels) <= 0.9))
        assert stats.binomtest(inside, len(levels), 0.9).pvalue > 1e-3


def test_an_event_without_a_time_is_recent_and_the_night_is_over() -> None:
    night = make_night(1, n_candidates=10)
    now = datetime.now(UTC)
    assert timedelta(days=2) < now - night.truth.event_time < timedelta(days=3)
    assert night.messages[-1].sent_at < now


def test_a_replay_of_any_year_is_possible() -> None:
    night = make_night(1, event_time=datetime(2018, 2, 3, tzinfo=UTC), n_candidates=10)
    assert night.truth.event_id == "MS180203aab"


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        make_night(1, event_time=EVENT.replace(tzinfo=None))
    with pytest.raises(ValueError, match="n_candidates"):
        make_night(1, event_time=EVENT, n_candidates=1)
    with pytest.raises(ValueError, match="-1"):
        make_night(-1, event_time=EVENT)
