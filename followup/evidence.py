"""What the planner knows about one target, and how to gather it from the records.

Everything but the name and the position may be None: not known, which is never "no".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

import numpy.typing as npt

from followup.claims import Claim
from mmcoord.predictions import ClassPredictions
from mmcoord.records import Candidate, KnownTransient, Match, Photometry
from mmcoord.timescales import mjd_tai

__all__ = ["Classes", "Origin", "Prediction", "TargetEvidence", "gather"]

Origin = Literal["inference", "screen"]
"""Who says how likely a kilonova is: the full inference or the quick screen."""

Classes = ClassPredictions | Callable[[], ClassPredictions | None]
"""What each class would show, or who can say it: only the most promising targets are asked.

Who has an attribute ``key`` says the same as any other of an equal key."""

_MJD_EPOCH_JD = 2400000.5


class Prediction(NamedTuple):
    """Predicted apparent magnitudes in one band: times and quantiles, 1-D, equally long.

    A magnitude of None or infinity is "too faint to state", which is known; NaN is not known.
    """

    mjd_tai: npt.ArrayLike
    """Increasing."""
    q05: npt.ArrayLike
    """AB magnitude that the source is brighter than with probability 5 %."""
    q50: npt.ArrayLike
    q95: npt.ArrayLike


@dataclass(frozen=True, slots=True)
class TargetEvidence:
    """One candidate as the ranking sees it."""

    object_id: str
    ra_deg: float
    dec_deg: float
    credible_level_2d: float | None = None
    credible_level_3d: float | None = None
    prob_density_sr: float | None = None
    prob_density_mpc3: float | None = None
    distance_mean_mpc: float | None = None
    distance_std_mpc: float | None = None
    first_detection_mjd_tai: float | None = None
    last_nondetection_mjd_tai: float | None = None
    """Last upper limit before the first detection (or last of all without one)."""
    detected_before_event: bool | None = None
    """None: nobody looked there before the event, or the event has no time."""
    latest_mag: float | None = None
    """Latest detection, AB, and its band and time."""
    latest_band: str | None = None
    latest_mjd_tai: float | None = None
    p_kilonova: float | None = None
    p_kilonova_origin: Origin | None = None
    run_key: str | None = None
    predicted: Mapping[str, Prediction] | None = None
    """Canonical band -> prediction."""
    classes: Classes | None = None
    """What each class of source would show; None: nothing can be said."""
    known: tuple[KnownTransient, ...] = ()
    """What catalogues of transients say of it, the surest identity first."""
    claims: tuple[Claim, ...] = ()
    """Who means to observe it, or has."""

    def class_predictions(self) -> ClassPredictions | None:
        """What each class of source would show; None: nothing can be said."""
        return self.classes() if callable(self.classes) else self.classes


def gather(
    candidate: Candidate,
    match: Match | None,
    photometry: Sequence[Photometry],
    *,
    event_time: datetime | None,
    p_kilonova: float | None = None,
    p_kilonova_origin: Origin | None = None,
    run_key: str | None = None,
    predicted: Mapping[str, Prediction] | None = None,
    classes: Classes | None = None,
    known: Sequence[KnownTransient] = (),
    claims: Sequence[Claim] = (),
) -> TargetEvidence:
    """Put together what is known of one candidate. Pure; ``photometry`` in any order.

    ``detected_before_event`` is True if any detection precedes the event, False if none does
    and some upper limit does, None otherwise (nobody looked, or the event has no time).
    """
    detections = sorted((p for p in photometry if not p.is_limit), key=_time_then_band)
    limits = [p.obs_mjd_tai for p in photometry if p.is_limit]
    first = detections[0].obs_mjd_tai if detections else None
    latest = detections[-1] if detections else None
    quiet = [t for t in limits if first is None or t < first]
    return TargetEvidence(
        object_id=candidate.object_id,
        ra_deg=candidate.ra_deg,
        dec_deg=candidate.dec_deg,
        credible_level_2d=match.credible_level_2d if match else None,
        credible_level_3d=match.credible_level_3d if match else None,
        prob_density_sr=match.prob_density_sr if match else None,
        prob_density_mpc3=match.prob_density_mpc3 if match else None,
        distance_mean_mpc=match.distance_mean_mpc if match else None,
        distance_std_mpc=match.distance_std_mpc if match else None,
        first_detection_mjd_tai=first,
        last_nondetection_mjd_tai=max(quiet, default=None),
        detected_before_event=_seen_before(first, limits, event_time),
        latest_mag=latest.mag_ab if latest else None,
        latest_band=latest.band if latest else None,
        latest_mjd_tai=latest.obs_mjd_tai if latest else None,
        p_kilonova=p_kilonova,
        p_kilonova_origin=p_kilonova_origin,
        run_key=run_key,
        predicted=predicted,
        classes=classes,
        known=tuple(known),
        claims=tuple(claims),
    )


def _time_then_band(point: Photometry) -> tuple[float, str, float]:
    return (point.obs_mjd_tai, point.band, point.mag_ab)


def _seen_before(
    first: float | None, limits: Sequence[float], event_time: datetime | None
) -> bool | None:
    if event_time is None:
        return None
    event = mjd_tai(event_time)
    if first is not None and first < event:
        return True
    return False if any(limit < event for limit in limits) else None
