"""The notices of a practice scenario: a superevent's, and a gamma-ray burst's beside it."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta

import numpy as np

import skymaps
from mmcoord.simulate.alerts import TimedMessage
from mmcoord.simulate.event import PROMOTED, REVISIONS, Arc, arc_map, notice, retraction
from mmcoord.simulate.sources import SOURCES, Scenario

__all__ = ["gamma_ray_burst", "near", "superevent"]

_NOTICE_DELAY = timedelta(seconds=3)
"""From ``time_created`` to the broker."""
_RETRACTED_AFTER = timedelta(days=2.7)
"""From the event: after its last candidates, so that plans are there to be withdrawn."""
_GRB_DELAY = timedelta(seconds=1.7)
"""As GRB 170817A after GW170817."""
_GBM = ((timedelta(seconds=20), 12.0), (timedelta(seconds=90), 6.0))
"""Notices after the trigger, and their 68 % radius (deg), statistical and systematic."""
_TWO_DIMENSIONS = math.sqrt(-2.0 * math.log(1.0 - 0.68))
"""68 % radius of a Gaussian in two dimensions, in sigmas."""


def superevent(
    arc: Arc, event_id: str, event_time: datetime, scenario: Scenario
) -> tuple[list[TimedMessage], skymaps.SkyMap, skymaps.SkyMap]:
    """The notices of a superevent, the last map sent, and the 3D map that is the truth's."""
    source = SOURCES[scenario.origin]
    revisions = PROMOTED if scenario.promoted else REVISIONS
    messages = []
    for revision in revisions:
        sent = arc_map(arc, revision, event_id=event_id, event_time=event_time, is_3d=source.is_3d)
        named = scenario.with_grb and revision is revisions[-1]
        payload = notice(
            sent,
            revision,
            event_id=event_id,
            event_time=event_time,
            origin=scenario.origin,
            external=_coincidence(event_time) if named else None,
        )
        messages.append(TimedMessage(event_time + revision.delay + _NOTICE_DELAY, "igwn", payload))
    if scenario.retracted:
        created = event_time + _RETRACTED_AFTER
        messages.append(
            TimedMessage(created + _NOTICE_DELAY, "igwn", retraction(event_id, created))
        )
    if source.is_3d:
        return messages, sent, sent
    truth = arc_map(arc, revisions[-1], event_id=event_id, event_time=event_time)
    return messages, sent, truth


def gamma_ray_burst(
    rng: np.random.Generator, seed: int, event_time: datetime, ra_deg: float, dec_deg: float
) -> list[TimedMessage]:
    """Fermi GBM's trigger in GCN's unified schema, marked as a test, then a better place."""
    trigger = event_time + _GRB_DELAY
    messages = []
    for number, (delay, radius_deg) in enumerate(_GBM, start=1):
        ra, dec = near(rng, ra_deg, dec_deg, radius_deg / _TWO_DIMENSIONS)
        document = {
            "$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/fermi/gbm/trigger.schema.json",
            "mission": "Fermi",
            "instrument": "GBM",
            "messenger": "EM",
            "id": [_trigger_id(event_time), _burst_name(event_time)],
            "record_number": number,
            "alert_datetime": _stamp(trigger + delay),
            "alert_tense": "test",
            "alert_type": "initial" if number == 1 else "update",
            "trigger_time": _stamp(trigger),
            "rate_duration": 0.512,
            "rate_snr": 6.3,
            "ra": ra,
            "dec": dec,
            "ra_dec_error": radius_deg,
            "containment_probability": 0.68,
            "systematic_included": True,
            "additional_info": f"practice, seed {seed}",
        }
        payload = json.dumps(document).encode()
        messages.append(TimedMessage(trigger + delay + _NOTICE_DELAY, "gcn_unified", payload))
    return messages


def near(
    rng: np.random.Generator, ra_deg: float, dec_deg: float, sigma_deg: float
) -> tuple[float, float]:
    """A direction off by a Gaussian in two dimensions, on the sphere."""
    ra, dec = math.radians(ra_deg), math.radians(dec_deg)
    centre = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])
    east = np.array([-math.sin(ra), math.cos(ra), 0.0])
    dx, dy = np.radians(sigma_deg) * rng.normal(size=2)
    moved = centre + dx * east + dy * np.cross(centre, east)
    moved /= np.linalg.norm(moved)
    return (
        round(math.degrees(math.atan2(moved[1], moved[0])) % 360.0, 4) % 360.0,
        round(math.degrees(math.asin(float(np.clip(moved[2], -1, 1)))), 4),
    )


def _coincidence(event_time: datetime) -> dict[str, object]:
    return {
        "gcn_notice_id": _burst_name(event_time),
        "ivorn": f"ivo://practice/Fermi#GBM_{_trigger_id(event_time)}",
        "observatory": "Fermi",
        "search": "GRB",
        "time_difference": _GRB_DELAY.total_seconds(),
        "time_coincidence_far": 1.0e-9,
        "time_sky_position_coincidence_far": 1.0e-10,
    }


def _trigger_id(event_time: datetime) -> str:
    """As GBM's: seconds since 2001."""
    return str(int(event_time.timestamp()) - 978307200)


def _burst_name(event_time: datetime) -> str:
    """GBM's other name, which a drill keeps: ``bn`` and the date with the fraction of the day."""
    day = event_time - event_time.replace(hour=0, minute=0, second=0, microsecond=0)
    return f"bn{event_time:%y%m%d}{int(1000 * (day / timedelta(days=1))):03d}"


def _stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
