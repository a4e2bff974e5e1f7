"""A practice superevent: its localization in 3D and its LVK notices.

The maps are made by formula, not by parameter estimation, and say so in their headers: an arc
of the ring that a time delay between two detectors leaves on the sky, Gaussian across and
along, with a distance that falls towards the ends of the arc. Three revisions shrink towards
one centre. The true position and distance are drawn from the last map, so that its credible
levels are exactly calibrated; the earlier, wider maps cover more than they claim.
"""

from __future__ import annotations

import base64
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import erfa
import healpy
import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

import skymaps
from mmcoord.records import AlertType
from mmcoord.simulate.sources import SOURCES, Origin
from mmcoord.timescales import mjd_tai

__all__ = [
    "PROMOTED",
    "REVISIONS",
    "Arc",
    "Revision",
    "arc_map",
    "choose_arc",
    "notice",
    "retraction",
]

Array = npt.NDArray[np.float64]

_FINE_ORDER, _COARSE_ORDER = 7, 4
_FAINTEST = 1e-6
"""Coarse tiles are split where the density exceeds this fraction of the peak."""


@dataclass(frozen=True, slots=True)
class Arc:
    """Where the arc lies on the sky."""

    axis: Array
    """(3,) unit vector along the detectors' baseline: the ring's pole."""
    centre: Array
    """(3,) unit vector to the middle of the arc."""
    distance_mpc: float


@dataclass(frozen=True, slots=True)
class Revision:
    """One notice of the superevent and the sharpness of its map."""

    alert_type: AlertType
    delay: timedelta
    """From the event to ``time_created``."""
    across_deg: float
    """1-sigma width of the arc."""
    along_deg: float
    """1-sigma half-length of the arc."""
    distance_fraction: float
    """Relative 1-sigma error of the distance along a line of sight."""
    instruments: tuple[str, ...]
    significant: bool = True
    far_hz: float = 1.0e-12


REVISIONS = (
    Revision(AlertType.PRELIMINARY, timedelta(seconds=30), 2.0, 14.0, 0.35, ("H1", "L1")),
    Revision(AlertType.INITIAL, timedelta(minutes=5), 1.3, 9.0, 0.30, ("H1", "L1")),
    Revision(AlertType.UPDATE, timedelta(minutes=10), 0.8, 5.0, 0.25, ("H1", "L1", "V1")),
)
"""90 % areas of about 400, 170 and 60 deg^2."""

_FAINT_FAR_HZ = 1.0e-5
"""About one a day: above LVK's threshold of significance (one in 30 days, with trials)."""
PROMOTED = (
    replace(REVISIONS[0], significant=False, far_hz=_FAINT_FAR_HZ),
    replace(REVISIONS[0], delay=timedelta(minutes=5), significant=False, far_hz=_FAINT_FAR_HZ),
    replace(REVISIONS[1], delay=timedelta(minutes=40), far_hz=1.0e-9),
    replace(REVISIONS[2], delay=timedelta(minutes=60), far_hz=1.0e-9),
)
"""A candidate of low significance, told twice as usual, that people promote later."""


def choose_arc(
    rng: np.random.Generator,
    event_time: datetime,
    distance_mpc: tuple[float, float] = SOURCES[Origin.BNS].distance_mpc,
) -> Arc:
    """An arc that can be observed at night: far from the Sun and the Galactic plane.

    Southern, as Rubin sees it. The detectors do not choose so; a practice night must.
    """
    helio, _ = erfa.epv00(2400000.5, mjd_tai(event_time))
    x, y, _ = -helio["p"]
    sun_ra = math.atan2(y, x)
    pole = _unit_vector(math.radians(192.859), math.radians(27.128))  # of the Galaxy
    while True:
        ra = sun_ra + math.pi + math.radians(rng.uniform(-45.0, 45.0))
        dec = math.asin(rng.uniform(math.sin(math.radians(-55.0)), math.sin(math.radians(10.0))))
        centre = _unit_vector(ra, dec)
        if abs(float(centre @ pole)) > math.sin(math.radians(25.0)):
            break
    sideways = np.cross(centre, rng.standard_normal(3))
    sideways /= np.linalg.norm(sideways)
    opening = math.radians(rng.uniform(40.0, 90.0))
    axis = math.cos(opening) * centre + math.sin(opening) * sideways
    return Arc(axis, centre, float(rng.uniform(*distance_mpc)))


def arc_map(
    arc: Arc, revision: Revision, *, event_id: str, event_time: datetime, is_3d: bool = True
) -> skymaps.SkyMap:
    """The map of one revision, multi-order, some thousand tiles; 3D but for bursts."""
    fine = np.arange(healpy.nside2npix(1 << _FINE_ORDER))
    density, stretch = _density(arc, revision, _directions())
    children = 4 ** (_FINE_ORDER - _COARSE_ORDER)
    by_parent = density.reshape(-1, children)
    split = by_parent.max(axis=1) > _FAINTEST * density.max()
    inner = fine.reshape(-1, children)[split].ravel()
    outer = np.flatnonzero(~split)
    order = np.r_[np.full(len(inner), _FINE_ORDER), np.full(len(outer), _COARSE_ORDER)]
    far = np.full(len(outer), stretch.max())
    mu = arc.distance_mpc * (1.0 - 0.1 * np.minimum(np.r_[stretch[inner], far], 4.0))
    sigma = revision.distance_fraction * mu
    built = skymaps.build_map(
        order,
        np.r_[inner, outer],
        np.r_[density[inner], by_parent[~split].mean(axis=1)],
        (mu, sigma, _distance_norm(mu, sigma)) if is_3d else None,
        header={
            "OBJECT": event_id,
            "INSTRUME": ",".join(revision.instruments),
            "DATE-OBS": event_time.strftime("%Y-%m-%dT%H:%M:%S.%f"),
            "CREATOR": "mmcoord.simulate",
            "ORIGIN": "practice",
            "NOTE": "approximate map made by formula for practice",
        },
    )
    if not is_3d:
        return built
    mean, std = skymaps.distance_summary(built)
    return replace(built, header={**built.header, "DISTMEAN": mean, "DISTSTD": std})


def notice(
    skymap: skymaps.SkyMap,
    revision: Revision,
    *,
    event_id: str,
    event_time: datetime,
    origin: Origin = Origin.BNS,
    external: Mapping[str, object] | None = None,
) -> bytes:
    """The LVK JSON notice as on GCN's ``igwn.gwalert``; ``external`` is its ``external_coinc``."""
    source = SOURCES[origin]
    fits = skymaps.to_fits_bytes(skymap)
    event = {
        "time": event_time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "far": revision.far_hz,
        "significant": revision.significant,
        "instruments": list(revision.instruments),
        "group": source.group,
        "pipeline": source.pipeline,
        "search": "MDC",
        "properties": dict(source.properties),
        "classification": dict(source.classification),
        "duration": source.duration_s,
        "central_frequency": source.central_frequency_hz,
        "skymap": base64.b64encode(fits).decode("ascii"),
    }
    created = event_time + revision.delay
    return _document(str(revision.alert_type), created, event_id, event, external)


def retraction(event_id: str, created: datetime) -> bytes:
    """The notice that takes a superevent back: no event in it, only its identifier."""
    return _document(str(AlertType.RETRACTION), created, event_id, None, None)


def _document(
    alert_type: str,
    created: datetime,
    event_id: str,
    event: Mapping[str, object] | None,
    external: Mapping[str, object] | None,
) -> bytes:
    return json.dumps(
        {
            "alert_type": alert_type,
            "time_created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "superevent_id": event_id,
            "urls": {"gracedb": f"https://example.org/superevents/{event_id}/view/"},
            "event": event,
            "external_coinc": external,
        }
    ).encode()


def _density(arc: Arc, revision: Revision, directions: Array) -> tuple[Array, Array]:
    """Unnormalised density, and the squared distance along the arc in sigmas, both (n,)."""
    opening = math.acos(float(arc.axis @ arc.centre))
    east = arc.centre - math.cos(opening) * arc.axis
    east /= np.linalg.norm(east)
    north = np.cross(arc.axis, east)
    azimuth = np.arctan2(directions @ north, directions @ east)
    across = np.degrees(np.arccos(np.clip(directions @ arc.axis, -1.0, 1.0)) - opening)
    along = np.degrees(azimuth) * math.sin(opening)
    stretch = (along / revision.along_deg) ** 2
    density: Array = np.exp(-0.5 * ((across / revision.across_deg) ** 2 + stretch))
    return density, stretch


def _distance_norm(mu: Array, sigma: Array) -> Array:
    """DISTNORM: 1 / int_0^inf r^2 N(r; mu, sigma) dr (Singer et al. 2016, ApJL 829, L15, eq. 1)."""
    x = mu / sigma
    gauss = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    norm: Array = 1.0 / (sigma**2 * ((x * x + 1.0) * ndtr(x) + x * gauss))
    return norm


@functools.cache
def _directions() -> Array:
    """(n, 3) unit vectors to the fine pixels, nested."""
    nside = 1 << _FINE_ORDER
    ipix = np.arange(healpy.nside2npix(nside))
    directions: Array = np.stack(healpy.pix2vec(nside, ipix, nest=True), axis=-1)
    return directions


def _unit_vector(ra_rad: float, dec_rad: float) -> Array:
    return np.array(
        [
            math.cos(dec_rad) * math.cos(ra_rad),
            math.cos(dec_rad) * math.sin(ra_rad),
            math.sin(dec_rad),
        ]
    )
