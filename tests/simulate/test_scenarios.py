"""Practice scenarios: what the listeners read of them, and that all of it is practice."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats

import skymaps
from listeners import avro, gcn_unified, igwn, table
from listeners.brokers import practice
from mmcoord.errors import ConfigError
from mmcoord.practice_scenario import topic_of
from mmcoord.records import Alert, AlertType, Candidate, Photometry
from mmcoord.simulate.alerts import TimedMessage
from mmcoord.simulate.companions import near
from mmcoord.simulate.night import Night, make_night
from mmcoord.simulate.packets import Format
from mmcoord.simulate.sources import SOURCES, Origin, Scenario
from mmcoord.simulate.track import make_track
from mmcoord.timescales import mjd_tai
from tests.listeners.packets import needs_schemas, off_the_wire

EVENT = datetime(2026, 11, 22, 15, 30, 12, 345000, tzinfo=UTC)


def night(scenario: Scenario, fmt: Format = "table", seed: int = 5) -> Night:
    return make_night(seed, event_time=EVENT, n_candidates=20, scenario=scenario, fmt=fmt)


def alerts(messages: tuple[TimedMessage, ...]) -> list[Alert]:
    read = {"igwn": igwn.parse, "gcn_unified": gcn_unified.parse}
    return [a for m in messages if m.source in read for a in read[m.source](m.payload)]


def candidates(messages: tuple[TimedMessage, ...]) -> list[Candidate]:
    found = []
    for message in messages:
        if message.source == "table_candidates":
            found += table.parse_candidate(message.payload)
        elif message.source in ("rubin_practice", "fink_practice"):
            found += [r for r in packet(message) if isinstance(r, Candidate)]
    return found


def packet(message: TimedMessage) -> list[object]:
    if message.source == "rubin_practice":
        return list(practice.RUBIN.parse(message.payload))
    return list(practice.FINK.parse(avro.wrap(message.key, message.payload)))


@pytest.mark.parametrize("origin", list(Origin))
def test_a_class_is_what_its_notices_say(origin: Origin) -> None:
    made = night(Scenario(origin))
    found = alerts(made.messages)
    source = SOURCES[origin]
    likeliest = max(source.classification, key=source.classification.__getitem__, default=None)
    for alert in found:
        assert alert.is_practice
        assert alert.search == "MDC"
        assert alert.group == ("Burst" if origin is Origin.BURST else "CBC")
        if likeliest is None:
            assert not alert.classification
            assert not alert.properties
            assert alert.extra["duration"] > 0
        else:
            assert likeliest == origin
            assert sum(alert.classification.values()) == pytest.approx(1.0)
        assert skymaps.load(alert.skymap_fits).is_3d == (origin is not Origin.BURST)
    assert (made.truth.kilonova_id is not None) == (origin in (Origin.BNS, Origin.NSBH))
    assert ("kilonova" in made.truth.kinds.values()) == (made.truth.kilonova_id is not None)
    assert all(c.is_practice for c in candidates(made.messages))


def test_a_promotion_starts_below_the_threshold_and_keeps_its_name() -> None:
    found = alerts(night(Scenario(promoted=True)).messages)
    assert [(a.alert_type, a.significant) for a in found] == [
        (AlertType.PRELIMINARY, False),
        (AlertType.PRELIMINARY, False),
        (AlertType.INITIAL, True),
        (AlertType.UPDATE, True),
    ]
    assert len({a.event_id for a in found}) == 1
    assert len({(a.alert_type, a.time_created) for a in found}) == 4
    # LVK's threshold for compact binaries: once in 30 days, with 7 trials
    assert [a.far_hz * 7 < 1 / (30 * 86400) for a in found if a.far_hz] == [False] * 2 + [True] * 2


def test_a_retraction_is_the_last_message_and_holds_no_event() -> None:
    made = night(Scenario(retracted=True))
    last = made.messages[-1]
    assert json.loads(last.payload)["event"] is None
    (alert,) = igwn.parse(last.payload)
    assert alert.alert_type is AlertType.RETRACTION
    assert alert.is_practice
    assert alert.event_id == made.truth.event_id
    assert last.sent_at < EVENT + timedelta(days=2.75)  # by default not in the future


def test_the_gamma_ray_burst_follows_and_the_update_names_it() -> None:
    found = alerts(night(Scenario(with_grb=True)).messages)
    bursts = [a for a in found if a.group == "Fermi-GBM"]
    *earlier, update = [a for a in found if a.group == "CBC"]
    assert [a.alert_type for a in bursts] == [AlertType.INITIAL, AlertType.UPDATE]
    assert all(a.is_practice for a in bursts)
    assert bursts[0].event_time is not None
    assert (bursts[0].event_time - EVENT).total_seconds() == pytest.approx(1.7)
    assert all(a.external is None for a in earlier)
    assert update.external is not None
    assert update.external.notice_id in bursts[0].aliases


def test_a_direction_is_off_by_a_gaussian_in_two_dimensions() -> None:
    rng = np.random.default_rng(3)
    ra, dec = np.array([near(rng, 40.0, -60.0, 2.0) for _ in range(2000)]).T
    separation = skymaps_separation(ra, dec, 40.0, -60.0)
    assert stats.kstest(separation, stats.rayleigh(scale=2.0).cdf).pvalue > 1e-3


def skymaps_separation(ra: np.ndarray, dec: np.ndarray, ra0: float, dec0: float) -> np.ndarray:
    """Great circle, deg, by the haversine."""
    a, d = np.radians(ra - ra0), np.radians(dec - dec0)
    h = np.sin(d / 2) ** 2 + np.cos(np.radians(dec)) * math.cos(math.radians(dec0)) * (
        np.sin(a / 2) ** 2
    )
    return np.degrees(2 * np.arcsin(np.sqrt(h)))


@needs_schemas
@pytest.mark.parametrize("fmt", ["rubin", "fink"])
def test_packets_tell_what_tables_tell(fmt: Format) -> None:
    as_rows, as_packets = night(Scenario()), night(Scenario(), fmt)
    truth = as_packets.truth
    assert counts(as_rows) == counts(as_packets)
    messages = [m for m in as_packets.messages if m.source == f"{fmt}_practice"]
    mine = [
        found
        for found in map(packet, messages)
        if isinstance(found[0], Candidate) and found[0].object_id == truth.kilonova_id
    ]
    points = {
        (p.band, round(p.obs_mjd_tai, 4)): p
        for p in mine[-1]
        if isinstance(p, Photometry) and not p.is_limit
    }
    rows = [
        p
        for m in as_rows.messages
        if m.source == "table_photometry"
        for p in table.parse_photometry(m.payload)
        if isinstance(p, Photometry) and p.object_id == as_rows.truth.kilonova_id and not p.is_limit
    ]
    assert len(points) == len(rows) >= 3
    for row in rows:
        point = points[row.band, round(row.obs_mjd_tai, 4)]
        assert point.mag_ab == pytest.approx(row.mag_ab, abs=2e-3)
        assert point.mag_err == pytest.approx(row.mag_err, rel=1e-2, abs=1e-4)
    newest = max(p.obs_mjd_tai for p in mine[-1] if isinstance(p, Photometry))
    sent = max(m.sent_at for m, found in zip(messages, map(packet, messages), strict=True)
               if found == mine[-1])  # fmt: skip
    assert 60 <= (mjd_tai(sent) - newest) * 86400 <= 121


def counts(made: Night) -> dict[str, int]:
    """Objects of each kind."""
    kinds = list(made.truth.kinds.values())
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


@needs_schemas
def test_a_packet_is_what_the_official_schema_reads() -> None:
    made = night(Scenario(), "rubin")
    first = next(m for m in made.messages if m.source == "rubin_practice")
    whole = off_the_wire(first.payload)
    assert whole["observation_reason"] == whole["target_name"] == "practice"
    assert str(whole["diaSource"]["diaObjectId"]) in made.truth.kinds
    assert whole["diaSource"]["snr"] >= 5.0


def test_a_track_is_told_twice_and_ever_better() -> None:
    made = make_track(5, event_time=EVENT, n_candidates=12)
    first, second = alerts(made.messages)
    assert (first.alert_type, second.alert_type) == (AlertType.INITIAL, AlertType.UPDATE)
    assert first.event_id == second.event_id == made.event_id
    assert first.is_practice
    assert second.is_practice
    assert first.region is not None
    assert second.region is not None
    assert second.region.semi_major_deg < first.region.semi_major_deg
    assert made.counterpart_id in {c.object_id for c in candidates(made.messages)}
    assert made.messages == make_track(5, event_time=EVENT, n_candidates=12).messages


def test_nine_tracks_in_ten_lie_in_their_circle() -> None:
    inside = []
    for seed in range(40):
        made = make_track(seed, event_time=EVENT, n_candidates=2)
        region = alerts(made.messages)[1].region
        assert region is not None
        separation = skymaps_separation(
            np.array([made.ra_deg]), np.array([made.dec_deg]), region.ra_deg, region.dec_deg
        )
        inside.append(float(separation[0]) <= region.semi_major_deg)
    assert stats.binomtest(sum(inside), len(inside), 0.9).pvalue > 1e-3


def test_topics_are_those_that_the_practice_sources_name() -> None:
    for source in (practice.RUBIN, practice.FINK):
        assert source.topics == (topic_of(source.name),)
        assert source.is_drill


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises((ValueError, ConfigError)):
        make_night(-1)
