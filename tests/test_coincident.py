"""Pairs of events of different messengers, and what chance makes of them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from mmcoord.coincident import Seen, judge, search_of
from mmcoord.records import Messenger
from skymaps.coincidence import GRB_RATE_HZ

T0 = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
YEAR_S = 365.25 * 86400
FAR = 1e-8


def wave(**more: object) -> Seen:
    values = {"group": "CBC", "far_hz": FAR, "extra": {}} | more
    return Seen("S1", Messenger.GW, event_time=T0, **values)  # type: ignore[arg-type]


def other(group: str, seconds: float, messenger: Messenger = Messenger.NEUTRINO, **more: object):
    values = {"far_hz": None, "extra": {}} | more
    return Seen("X", messenger, group, T0 + timedelta(seconds=seconds), **values)  # type: ignore[arg-type]


def test_a_supernova_burst_is_sought_within_ten_seconds():
    assert search_of(wave(), other("SNEWS2", 3)) == "SNEWS"
    assert judge(wave(), other("SNEWS2", 10.0), None) is not None
    assert judge(wave(), other("SNEWS2", 10.1), None) is None


def test_a_pair_of_detectors_counts_with_its_own_accidents():
    """0.078 such pairs a year by accident (research note, 2.6), in a window of 20 s."""
    burst = other("SNEWS2", 1.0, extra={"detections": [{"detector": "LVD"}, {"detector": "LZ"}]})
    joint = judge(wave(), burst, None)
    assert joint is not None
    assert joint.far_hz == pytest.approx(FAR * 20.0 * 0.078 / YEAR_S, rel=0.02)


def test_a_single_track_counts_with_icecubes_rate():
    """26 alerts a year and +-500 s: 8.2e-4 by chance for one wave (research note, 3.4)."""
    joint = judge(wave(far_hz=1.0), other("IceCube", -200.0), None)
    assert joint is not None
    assert joint.far_time_hz == pytest.approx(8.2e-4, rel=0.01)


def test_maps_that_agree_make_chance_rarer_and_maps_that_exclude_each_other_end_it():
    near = judge(wave(), other("IceCube", 10.0), 40.0)
    assert near is not None
    assert near.far_time_hz is not None
    assert near.far_hz == pytest.approx(near.far_time_hz / 40.0)
    apart = judge(wave(), other("IceCube", 10.0), 0.0)
    assert apart is not None
    assert apart.far_hz is None


def test_a_follow_up_by_icecube_counts_with_its_p_value():
    """It looked at this very wave: no rate of alerts enters, and the larger of two p-values."""
    extra = {"pval_generic": 0.0191, "pval_bayesian": 0.0549}
    joint = judge(wave(), other("IceCube-LVK", 0.0, extra=extra), 3.0)
    assert joint is not None
    assert joint.far_hz == pytest.approx(0.0549 * FAR)
    not_run = {"pval_generic": None, "pval_bayesian": None}
    unknown = judge(wave(), other("IceCube-LVK", 0.0, extra=not_run), None)
    assert unknown is not None
    assert unknown.far_hz is None


def test_gamma_ray_bursts_are_sought_nearer_mergers_than_unmodelled_bursts():
    grb = other("Fermi-GBM", 1.7, Messenger.EM)
    joint = judge(wave(), grb, None)
    assert joint is not None
    assert joint.far_hz == pytest.approx(FAR * 6.0 * GRB_RATE_HZ)
    late = other("Fermi-GBM", 300.0, Messenger.EM)
    assert judge(wave(), late, None) is None
    assert judge(wave(group="Burst"), late, None) is not None


def test_nothing_else_is_a_pair():
    assert search_of(wave(), wave()) is None
    assert search_of(other("IceCube", 0), other("Fermi-GBM", 0, Messenger.EM)) is None
    assert search_of(wave(), other("CHIME-FRB", 0, Messenger.EM)) is None


def test_without_a_rate_of_the_wave_there_is_no_joint_rate():
    joint = judge(wave(far_hz=None), other("SNEWS2", 1.0), None)
    assert joint is not None
    assert joint.far_hz is None
    assert math.isclose(joint.offset_s, 1.0)
