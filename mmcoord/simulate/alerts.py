"""The survey's alerts as payloads: rows of tables of candidates and photometry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from mmcoord.simulate.objects import Kind
from mmcoord.simulate.survey import BANDS, Measurements, Visits
from mmcoord.timescales import mjd_tai

__all__ = ["DELAY_S", "HOST_Z_ERR", "Observed", "TimedMessage", "alerts"]

HOST_Z_ERR = 0.001
"""Error of a host's redshift as a distance: 300 km/s of peculiar velocity."""
DELAY_S = (60.0, 120.0)
"""From an exposure to its alerts, as LSST promises."""


class TimedMessage(NamedTuple):
    """One message of the stream."""

    sent_at: datetime
    source: str
    """Listener that reads the payload: ``igwn``, ``table_candidates``, ``table_photometry``."""
    payload: bytes
    key: bytes = b""
    """The message's key on Kafka: the schema, where a broker sends it apart."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One object as the survey saw it."""

    kind: Kind
    ra_deg: float
    dec_deg: float
    host_redshift: float | None
    visits: Visits
    seen: Measurements
    """One row."""


def alerts(
    rng: np.random.Generator, thing: Observed, object_id: str, event_time: datetime
) -> list[TimedMessage]:
    """A candidate with its first detection, then each detection; limits come with the next.

    As in LSST's packets, a limit is told by the alert of the detection that follows it; of
    several limits in one band only the newest is told.
    """
    begin_mjd = mjd_tai(event_time)
    messages: list[TimedMessage] = []
    waiting: dict[int, bytes] = {}  # by band
    for visit in range(len(thing.visits.t_day)):
        point = _point(thing, object_id, visit, begin_mjd)
        if not thing.seen.detected[0, visit]:
            waiting[int(thing.visits.band[visit])] = point
            continue
        delay = timedelta(days=float(thing.visits.t_day[visit]), seconds=rng.uniform(*DELAY_S))
        sent_at = event_time + delay
        if not messages:
            messages.append(TimedMessage(sent_at, "table_candidates", _row(thing, object_id)))
        payloads = [*waiting.values(), point]
        messages += [TimedMessage(sent_at, "table_photometry", payload) for payload in payloads]
        waiting.clear()
    return messages


def _row(thing: Observed, object_id: str) -> bytes:
    cells = {
        "id": object_id,
        "ra": f"{thing.ra_deg:.7f}",
        "dec": f"{thing.dec_deg:.7f}",
        "source": "practice",
        "is_practice": "true",
    }
    if thing.host_redshift is not None:
        cells |= {"z": f"{thing.host_redshift:.5f}", "z_err": f"{HOST_Z_ERR:.5f}"}
    return json.dumps(cells).encode()


def _point(thing: Observed, object_id: str, visit: int, begin_mjd: float) -> bytes:
    cells = {
        "id": object_id,
        "obs_mjd_tai": f"{begin_mjd + thing.visits.t_day[visit]:.6f}",
        "band": BANDS[thing.visits.band[visit]],
        "mag": f"{thing.seen.mag[0, visit]:.4f}",
        "mag_err": f"{thing.seen.mag_err[0, visit]:.4f}" if thing.seen.detected[0, visit] else "",
    }
    return json.dumps(cells).encode()
