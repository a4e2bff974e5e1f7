"""A practice neutrino track: IceCube's notice, its better revision, and candidates around it.

The true source is a young supernova whose place is drawn from the second notice's error, so
that its 90 % circle is calibrated; the first notice is off by its own, larger error.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from listeners.gcn_unified import parse
from mmcoord.simulate.alerts import TimedMessage
from mmcoord.simulate.companions import near
from mmcoord.simulate.night import others, pack, supernova_at
from mmcoord.simulate.packets import Format
from mmcoord.simulate.survey import schedule

__all__ = ["Track", "make_track"]

_REVISIONS = (("initial", timedelta(seconds=40), 1.5), ("update", timedelta(hours=3), 0.7))
"""Type, delay of the notice, 90 % radius in deg."""
_TWO_DIMENSIONS = math.sqrt(-2.0 * math.log(1.0 - 0.9))
_AGE = timedelta(days=2.75)


@dataclass(frozen=True, slots=True)
class Track:
    """Messages in the order in which they are sent, and the truth."""

    messages: tuple[TimedMessage, ...]
    event_id: str
    event_time: datetime
    counterpart_id: str
    ra_deg: float
    dec_deg: float


def make_track(
    seed: int,
    *,
    event_time: datetime | None = None,
    n_candidates: int = 100,
    fmt: Format = "table",
) -> Track:
    """Make a practice track; the same arguments give the same bytes."""
    event_time = (event_time or datetime.now(UTC).replace(microsecond=0) - _AGE).astimezone(UTC)
    rng = np.random.default_rng([seed, 2017])
    ra, dec = float(rng.uniform(0.0, 360.0)), float(rng.uniform(-40.0, 5.0))
    second = near(rng, ra, dec, _REVISIONS[1][2] / _TWO_DIMENSIONS)
    first = near(rng, ra, dec, _REVISIONS[0][2] / _TWO_DIMENSIONS)
    identifier = f"{130000 + seed % 100000}_{int(event_time.timestamp()) % 10**8}"
    messages = [
        TimedMessage(
            event_time + delay,
            "gcn_unified",
            _notice(number, kind, place, radius, event_time + delay, event_time, identifier),
        )
        for number, ((kind, delay, radius), place) in enumerate(
            zip(_REVISIONS, (first, second), strict=True)
        )
    ]
    event_id = parse(messages[0].payload)[0].event_id
    groups = schedule(rng)
    toward = np.radians([ra, dec])
    centre = np.array(
        [
            math.cos(toward[1]) * math.cos(toward[0]),
            math.cos(toward[1]) * math.sin(toward[0]),
            math.sin(toward[1]),
        ]
    )
    counterpart = supernova_at(rng, groups, ra, dec)
    objects = [counterpart, *others(rng, groups, centre, n_candidates - 1)]
    packed, names = pack(
        rng, objects, rng.permutation(len(objects)), f"MN{seed:06d}", event_time, fmt
    )
    messages += packed
    messages.sort(key=lambda message: message.sent_at)
    return Track(tuple(messages), event_id, event_time, names[0], ra, dec)


def _notice(
    number: int,
    kind: str,
    place: tuple[float, float],
    radius_deg: float,
    sent: datetime,
    event_time: datetime,
    identifier: str,
) -> bytes:
    """As ``single_neutrino_alerts`` of GCN's unified schema, marked as a test."""
    document = {
        "$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/icecube/"
        "single_neutrino_alerts.schema.json",
        "mission": "IceCube",
        "instrument": "IC86",
        "messenger": "Neutrino",
        "pipeline": "Gold Track Alert",
        "record_number": number,
        "id": [identifier],
        "alert_datetime": _stamp(sent),
        "alert_tense": "test",
        "alert_type": kind,
        "alert_topology": "Track",
        "number_of_events": 1,
        "trigger_time": _stamp(event_time),
        "ra": place[0],
        "dec": place[1],
        "ra_dec_error": radius_deg,
        "containment_probability": 0.9,
        "systematic_included": False,
        "nu_energy": 180.0,
        "p_astro": 0.6,
        "far": 3.0e-8,
    }
    return json.dumps(document).encode()


def _stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
