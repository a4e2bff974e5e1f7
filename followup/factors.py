"""The factors of a target's score that do not depend on the telescope.

Each is a number in [0, 1] with a sentence for people. A factor that is not known has the
value None and is counted with a stated default that lies between "no" and "yes".
``docs/planning.md`` has the equations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from datetime import datetime

from followup.claims import ClaimWorth, worth_left
from followup.evidence import TargetEvidence
from mmcoord.timescales import mjd_tai

__all__ = ["Factor", "RankSettings", "claimed", "classified", "kilonova", "membership", "timing"]


@dataclass(frozen=True, slots=True)
class RankSettings:
    """Everything that can be tuned in the ranking.

    Raises
    ------
    ValueError
        A value out of range.
    """

    floor: float = 1e-3
    """No factor counts less: maps, models and clocks can be wrong."""
    unknown_membership: float = 0.5
    """Mean of 1 - credible level over true counterparts."""
    unknown_time: float = 0.5
    unknown_history: float = 0.5
    """Weight of a timely first detection when nobody looked there before the event."""
    seen_before_event: float = 0.01
    """Time factor of a source that was there before the event."""
    full_window_day: float = 3.0
    """A first detection up to this long after the event is fully timely."""
    late_decay_day: float = 3.0
    """e-folding time of the time factor after that."""
    classified_otherwise: float = 0.01
    """Factor of a source that a spectrum shows to be something else; not zero, because
    spectra are taken of the wrong source and types are corrected."""
    sibling_day: float = 730.0
    """An entry discovered so long before the event is another transient at the same place."""
    prior_kilonova: float = 0.1
    """Kilonova factor before inference and screen have looked."""
    surest_rival: float = 0.99
    """No candidate is held for the event's kilonova with more than this probability when the
    others are weighed: spectra and models are wrong at times."""
    unknown_brightness: float = 0.5
    unobservable: float = 0.02
    """Observability factor of a target that no instrument can observe in the coming day.

    Not zero: other observatories, space and radio telescopes, and later nights remain, and a
    likely kilonova behind the Sun must not rank below an unlikely one in the dark.
    """
    depth_scatter_mag: float = 0.3
    """1-sigma scatter of a night's real depth about the catalogue's (seeing, haze, Moon)."""
    persistence_mag: float = 0.3
    """1-sigma error of "as bright as last seen" at zero delay."""
    persistence_mag_per_day: float = 0.5
    """Its growth with the time since the last detection."""
    colour_mag: float = 0.5
    """Added to it (in quadrature) in another band than the one last seen."""
    step_minutes: float = 15.0
    horizon_hours: float = 24.0
    wanted_snr: float = 10.0
    """Exposures are for this S/N at the faint end (95 %) of what is expected."""
    choice_tolerance: float = 0.05
    """Among observations within this fraction of the best, the cheapest is proposed."""
    claims: ClaimWorth = field(default_factory=ClaimWorth)
    """How far the claims of others lower the worth of an observation."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, float | int) and (not math.isfinite(value) or value < 0):
                raise ValueError(f"{one.name}: {value!r} is negative or not finite")
        for name in _WEIGHTS:
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not in (0, 1]")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not positive")
        for name in ("choice_tolerance", "surest_rival"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not below 1")


_POSITIVE = (
    "sibling_day",
    "depth_scatter_mag",
    "horizon_hours",
    "late_decay_day",
    "step_minutes",
    "wanted_snr",
)
_WEIGHTS = (
    "classified_otherwise",
    "floor",
    "prior_kilonova",
    "seen_before_event",
    "unknown_brightness",
    "unknown_history",
    "unknown_membership",
    "unknown_time",
    "unobservable",
)


_KILONOVA = frozenset({"kilonova", "kn"})
_CATALOGUES = {"tns": "TNS", "ysepz": "YSE-PZ"}
_SAYS_NOTHING = frozenset(
    {"", "other", "unknown", "galaxy", "light-echo", "afterglow", "gap", "gap i", "gap ii", "frb"}
)
"""Types that do not exclude a kilonova: light of the host alone, or of the same explosion."""


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor of one target."""

    value: float | None
    """In [0, 1]; None: not known."""
    counted: float
    """What enters the product: the value, or the stated default."""
    reason: str


def membership(target: TargetEvidence, settings: RankSettings) -> Factor:
    """1 - credible level: the 3D level if known, else the 2D one.

    Over true counterparts the credible level is uniform in [0, 1] (that is what makes it
    credible), so this is the share of true counterparts that lie farther out in the map.
    """
    for level, name in ((target.credible_level_3d, "3D"), (target.credible_level_2d, "2D")):
        if level is not None and math.isfinite(level):
            farther = min(1.0, max(0.0, 1.0 - level))
            reason = (
                f"at the {100 * level:.1f} % credible level of the {name} map: "
                f"{100 * farther:.1f} % of true counterparts lie farther out"
            )
            return _known(farther, reason, settings)
    return _unknown(settings.unknown_membership, "no sky map gives its credible level")


def timing(target: TargetEvidence, event_time: datetime | None, settings: RankSettings) -> Factor:
    """Did it appear after the event, and soon?"""
    first = target.first_detection_mjd_tai
    if target.detected_before_event:
        return _known(settings.seen_before_event, "was already there before the event", settings)
    if first is None:
        return _unknown(settings.unknown_time, "no detection yet, so no time of appearance")
    if event_time is None:
        return _unknown(settings.unknown_time, "the event has no time")
    delay = first - mjd_tai(event_time)
    if delay < 0:
        reason = f"first detected {-delay:.2f} d before the event"
        return _known(settings.seen_before_event, reason, settings)
    late = max(0.0, delay - settings.full_window_day)
    value = math.exp(-late / settings.late_decay_day)
    reason = f"first detected {delay:.2f} d after the event"
    if late > 0:
        reason += f", past the {settings.full_window_day:g} d in which a kilonova shows"
    if target.detected_before_event is None:
        value *= settings.unknown_history
        reason += f"; nobody is known to have looked there before (x {settings.unknown_history:g})"
    else:
        reason += "; nothing there before"
    # A late riser is still likelier than a source that was there before the event.
    return _known(max(value, settings.seen_before_event), reason, settings)


def kilonova(
    target: TargetEvidence, settings: RankSettings, event_time: datetime | None = None
) -> Factor:
    """Probability of a kilonova: by a spectrum, else from the inference, else from the screen,
    else the prior."""
    spectrum = _type_of(target, event_time, settings)
    if spectrum is not None and spectrum.classification.lower() in _KILONOVA:
        return _known(1.0, f"a kilonova by its spectrum ({spectrum.told})", settings)
    p = target.p_kilonova
    if p is None or not math.isfinite(p):
        return _unknown(settings.prior_kilonova, "neither inference nor screen has looked")
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{target.object_id}: p_kilonova {p!r} is not in [0, 1]")
    origin = {
        "inference": "by inference",
        "screen": "by the quick screen, no inference yet",
        None: "of unstated origin",
    }[target.p_kilonova_origin]
    return _known(p, f"kilonova with probability {p:.3g} {origin}", settings)


def classified(
    target: TargetEvidence, event_time: datetime | None, settings: RankSettings
) -> Factor:
    """What a catalogue's spectroscopic type says; without one it counts 1, whatever it is.

    A weight, never a removal. Old entries are siblings: other transients at the same place.
    """
    found = _type_of(target, event_time, settings)
    if found is None:
        reason = "no catalogue gives a spectroscopic type that tells"
        return Factor(None, 1.0, f"not known ({reason}); counted as 1")
    if found.classification.lower() in _KILONOVA:
        return _known(1.0, f"classified as {found.classification} ({found.told})", settings)
    reason = f"classified as {found.classification}, not a kilonova ({found.told})"
    return _known(settings.classified_otherwise, reason, settings)


@dataclass(frozen=True, slots=True)
class _Type:
    """A type that tells, and where it is from."""

    classification: str
    told: str


def _type_of(
    target: TargetEvidence, event_time: datetime | None, settings: RankSettings
) -> _Type | None:
    """A kilonova by any catalogue, else the type of the surest identity that tells."""
    first = -math.inf if event_time is None else mjd_tai(event_time) - settings.sibling_day
    told = [
        _Type(
            entry.classification.strip(),
            f"{_CATALOGUES.get(entry.catalogue, entry.catalogue)}: {entry.name}",
        )
        for entry in target.known
        if entry.classification is not None
        and entry.classification.strip().lower() not in _SAYS_NOTHING
        and (entry.discovered_mjd_tai is None or entry.discovered_mjd_tai >= first)
    ]
    kilonovae = [found for found in told if found.classification.lower() in _KILONOVA]
    return next(iter(kilonovae or told), None)


def claimed(target: TargetEvidence, now: datetime, settings: RankSettings) -> Factor | None:
    """What the claims of groups leave of an observation's worth; None when nobody claims it."""
    left = worth_left(target.claims, now, settings.claims)
    return None if left is None else _known(*left, settings)


def _known(value: float, reason: str, settings: RankSettings) -> Factor:
    floored = max(settings.floor, value)
    return Factor(floored, floored, reason)


def _unknown(default: float, reason: str) -> Factor:
    return Factor(None, default, f"not known ({reason}); counted as {default:g}")
