"""A practice supernova: neutrinos in several detectors and the messages that would tell of them.

A star of the progenitors' catalogue explodes. Each detector counts neutrinos by its expectation
and the distance, and its first one comes as :meth:`skymaps.detectors.Detector.timing` says:
late by the light's way and by a Weibull-distributed wait. SNEWS then sends an alert when two
have reported and one more for each that joins; Super-K sends its own. All of it is marked as a
test in every way that the formats know.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from mmcoord.errors import ConfigError
from mmcoord.simulate.alerts import TimedMessage
from mmcoord.simulate.companions import near
from mmcoord.timescales import mjd_utc
from skymaps.detectors import REFERENCE_DISTANCE_KPC, Detector, builtin_detectors
from skymaps.earth import LIGHT_M_S, gcrs_position_m
from skymaps.progenitors import Progenitor, builtin_progenitors

__all__ = ["DETECTORS", "BurstTruth", "PracticeBurst", "make_burst"]

DETECTORS = ("IceCube", "Super-K", "JUNO", "KM3NeT", "NOvA", "LVD", "SNO+")
_REPORT_S = (20.0, 120.0)
"""From the neutrinos to a detector's report."""
_SUPERK_S = 75.0
_SUPERK_RADIUS_DEG = 3.7
"""68 % at 10 kpc with gadolinium (Kashiwagi et al. 2024, arXiv:2403.06760, best model)."""
_DISTANCE_ERROR = 0.15


@dataclass(frozen=True, slots=True)
class BurstTruth:
    """What really happened."""

    star: str
    ra_deg: float
    dec_deg: float
    distance_kpc: float
    event_time: datetime
    """Arrival at the geocentre."""
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class PracticeBurst:
    """The messages in the order in which they are sent, and the truth."""

    truth: BurstTruth
    messages: tuple[TimedMessage, ...]


def make_burst(
    seed: int,
    *,
    distance_kpc: float | None = None,
    detectors: Sequence[str] = DETECTORS,
    at: datetime | None = None,
) -> PracticeBurst:
    """A burst and its messages; the same arguments give the same bytes.

    Parameters
    ----------
    distance_kpc
        Instead of the star's own.
    at
        Arrival at the geocentre; by default an instant of 2026 that the seed decides.

    Raises
    ------
    ConfigError
        A detector that is not in the table, fewer than two that see anything, or a distance
        that is none.
    """
    if distance_kpc is not None and not 0.0 < distance_kpc < math.inf:
        raise ConfigError(f"distance-kpc: {distance_kpc!r} is no distance")
    rng = np.random.default_rng([seed, 1987])
    table = builtin_detectors()
    unknown = [name for name in detectors if name not in table]
    if unknown:
        raise ConfigError(f"detectors: {unknown[0]!r} is none of {', '.join(table)}")
    stars = builtin_progenitors()
    star = stars[int(rng.integers(len(stars)))]
    kpc = distance_kpc or star.distance_kpc or REFERENCE_DISTANCE_KPC
    begin = at or datetime(2026, 1, 1, tzinfo=UTC) + timedelta(
        seconds=round(float(rng.uniform(0, 300 * 86400)), 6)
    )
    counts: dict[str, int] = {}
    firsts: dict[str, datetime] = {}
    for name in detectors:
        row = table[name]
        counts[row.name] = int(rng.poisson(_expected(row, kpc)))
        if counts[row.name] > 0:
            firsts[row.name] = _first_neutrino(rng, row, star, begin, kpc)
    if len(firsts) < 2:
        raise ConfigError(f"only {len(firsts)} of the detectors see anything at {kpc:g} kpc")
    messages = _snews(rng, firsts, begin)
    if "Super-K" in firsts:
        messages.append(_superk(rng, star, firsts["Super-K"], counts["Super-K"], kpc, seed))
    messages.sort(key=lambda message: message.sent_at)
    truth = BurstTruth(star.name, star.ra_deg, star.dec_deg, kpc, begin, counts)
    return PracticeBurst(truth, tuple(messages))


def _expected(row: Detector, kpc: float) -> float:
    return (row.events_10kpc or 0.0) * (REFERENCE_DISTANCE_KPC / kpc) ** 2


def _first_neutrino(
    rng: np.random.Generator, row: Detector, star: Progenitor, begin: datetime, kpc: float
) -> datetime:
    (place,) = gcrs_position_m([row.lon_deg], [row.lat_deg], [row.height_m], mjd_utc(begin))
    ra, dec = math.radians(star.ra_deg), math.radians(star.dec_deg)
    toward = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])
    light_s = -float(place @ toward) / LIGHT_M_S
    timing = row.timing("first_event", kpc)
    if row.first_event_sigma_ms is not None:
        wait_s = float(rng.normal(timing.bias_s, timing.sigma_s))
    else:
        scale_s = row.rise_s / math.sqrt(max(_expected(row, kpc), 1.0))
        wait_s = scale_s * float(rng.weibull(2.0)) + float(rng.normal(0, 1e-3 * row.clock_ms))
    return begin + timedelta(seconds=light_s + wait_s)


def _snews(
    rng: np.random.Generator, firsts: dict[str, datetime], begin: datetime
) -> list[TimedMessage]:
    """One alert when two have reported, then one for each that joins (SNEWS_Coincidence_System)."""
    reports = sorted((float(rng.uniform(*_REPORT_S)), name) for name in firsts)
    messages = []
    for number in range(2, len(reports) + 1):
        names = [name for _, name in reports[:number]]
        sent = begin + timedelta(seconds=reports[number - 1][0] + 1.0)
        stamp = sent.replace(tzinfo=None).isoformat(timespec="microseconds")
        first = number == 2
        alert = {
            "id": f"SNEWS_Coincidence_ALERT{'' if first else '-UPDATE'} {stamp}",
            "alert_type": "TEST COINC_MSG" if first else "TEST UPDATE",
            "server_tag": "practice",
            "False Alarm Prob": "(couldn't compute)",
            "detector_names": names,
            "sent_time": stamp,
            "p_values": [1e-6] * number,
            "neutrino_times": [
                firsts[name].replace(tzinfo=None).isoformat(timespec="microseconds")
                for name in names
            ],
            "p_values average": 1e-6,
            "sub list number": 0,
            "is_test": True,
        }
        messages.append(TimedMessage(sent, "snews2_drills", json.dumps(alert).encode()))
    return messages


def _superk(
    rng: np.random.Generator,
    star: Progenitor,
    first: datetime,
    count: int,
    kpc: float,
    seed: int,
) -> TimedMessage:
    """Super-K's own notice, with a direction off by its error and a distance of its own."""
    sent = first + timedelta(seconds=_SUPERK_S)
    radius = _SUPERK_RADIUS_DEG * max(kpc / REFERENCE_DISTANCE_KPC, 0.3)
    ra, dec = near(rng, star.ra_deg, star.dec_deg, radius / 1.51)
    seen_kpc = kpc * math.exp(_DISTANCE_ERROR * float(rng.normal()))
    notice = {
        "$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/superk/sn_alert.schema.json",
        "mission": "Super-Kamiokande",
        "messenger": "Neutrino",
        "id": f"SN.PRACTICE.{seed:06d}",
        "record_number": 1,
        "trigger_number": seed,
        "alert_datetime": sent.isoformat().replace("+00:00", "Z"),
        "alert_tense": "test",
        "alert_type": "initial",
        "trigger_time": first.isoformat().replace("+00:00", "Z"),
        "processed_sample": "full",
        "pipeline": "snwatch",
        "n_events": count,
        "n_ibd_events": int(0.9 * count),
        "detection_interval": 20,
        "rate_energy_range": [6000, 100000],
        "ra": ra,
        "dec": dec,
        "ra_dec_error": radius,
        "containment_probability": 0.68,
        "luminosity_distance": seen_kpc / 1000.0,
        "luminosity_distance_error": _DISTANCE_ERROR * seen_kpc / 1000.0,
    }
    return TimedMessage(sent, "gcn_unified", json.dumps(notice).encode())
