"""A burst assessed: where, how likely real, what, how far, how long until light. Pure.

This is the order in which a person asks at 3 a.m., and the order of :class:`Assessment`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import skymaps
from mmcoord.supernova.burst import Burst
from mmcoord.supernova.classify import FAILED_FRACTION, Classification, classify
from mmcoord.supernova.distance import Distance, Yield, best_distance
from mmcoord.supernova.falsealarm import Reality, Rules
from mmcoord.supernova.waiting import CADENCE, WaitingTime
from mmcoord.timescales import mjd_utc
from skymaps import SkyMap
from skymaps.detectors import REFERENCE_DISTANCE_KPC, DetectorTable
from skymaps.skymap import SkyMapError
from skymaps.triangulation import Arrival, Pointing, Triangulation, triangulate

__all__ = ["Assessment", "Beliefs", "assess"]

_UNKNOWN_DISTANCE_SIGMA = 0.5
"""Of ln(distance), where nobody says how far it is."""


@dataclass(frozen=True, slots=True)
class Beliefs:
    """What is held before the burst; every number is a setting."""

    rules: Rules = field(default_factory=Rules)
    failed_fraction: float = FAILED_FRACTION
    distance_kpc: float = REFERENCE_DISTANCE_KPC
    """Where nobody says how far it is."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """Everything that is said of a burst."""

    burst: Burst
    reality: Reality
    classification: Classification
    distance: Distance | None
    waiting: WaitingTime
    place: Triangulation | None
    """None: nobody stands by a detection, or no detector's site is known."""
    notes: tuple[str, ...]
    """What a reader must know beside the numbers."""

    @property
    def skymap(self) -> SkyMap | None:
        return self.place.skymap if self.place else None

    def headlines(self) -> tuple[str, ...]:
        """The few lines that go at the top of every message and of the page."""
        burst, found = self.burst, self.classification
        lines = []
        if burst.is_retracted:
            lines.append("Taken back by every network that announced it.")
        for words in burst.contradictions:
            lines.append(f"Markers disagree, held to be a test: {words}.")
        seen = ", ".join(burst.detectors) or "detectors not named"
        lines.append(f"Neutrino burst seen by {len(burst.sightings)}: {seen}.")
        lines.append(
            f"P(real) {self.reality.probability:.3g}; {found.verdict} ("
            + ", ".join(f"{name} {p:.2g}" for name, p in found.probabilities().items())
            + ")."
        )
        if self.distance is not None:
            near = self.distance
            lines.append(f"Distance {near.kpc:.1f} +- {near.err_kpc:.1f} kpc ({near.source}).")
        if self.place is not None:
            area = skymaps.credible_area_deg2(self.place.skymap, 0.9)
            lines.append(f"90 % region {area:,.0f} deg2.")
        half, late = self.waiting.quantile_h(0.5), self.waiting.quantile_h(0.75)
        if half is not None and late is not None:
            lines.append(
                f"First light: half of all cases within {half:.1f} h of the neutrinos, "
                f"three quarters within {late:.0f} h, some within a minute."
            )
        return tuple(lines)

    def to_json(self) -> dict[str, Any]:
        """As stored and served; times in ISO format, distances in kpc, areas in deg2."""
        place = self.place
        return {
            "events": list(self.burst.events),
            "is_practice": self.burst.is_practice,
            "is_retracted": self.burst.is_retracted,
            "is_pre_supernova": self.burst.is_pre_supernova,
            "contradictions": list(self.burst.contradictions),
            "detections": [
                {
                    "detector": one.detector,
                    "time": one.time.isoformat(),
                    "p_value": one.p_value,
                    "p_bad_clock": (
                        place.bad_clock_probability.get(one.detector or "") if place else None
                    ),
                }
                for one in self.burst.sightings
            ],
            "withdrawn": list(self.burst.withdrawn),
            "silent": list(self.burst.silent),
            "off": list(self.burst.off),
            "probability_real": self.reality.probability,
            "false_alarm_rate_hz": _finite(self.reality.false_alarm_rate_hz),
            "classification": dict(self.classification.probabilities()),
            "verdict": self.classification.verdict,
            "is_determined": self.classification.determined,
            "reasons": list(self.classification.reasons),
            "missing": list(self.classification.missing),
            "distance_kpc": self.distance.kpc if self.distance else None,
            "distance_err_kpc": self.distance.err_kpc if self.distance else None,
            "distance_source": self.distance.source if self.distance else None,
            "area_68_deg2": self._area(0.68),
            "area_90_deg2": self._area(0.90),
            "p_value_times": place.p_value if place else None,
            "culprit": place.culprit if place else None,
            "waiting": {
                "p_failed": self.waiting.p_failed,
                "quantiles_h": {
                    str(q): self.waiting.quantile_h(q) for q in (0.05, 0.25, 0.5, 0.75, 0.9)
                },
                "cadence": [
                    {"until_h": step.until_h, "every_min": step.every_min} for step in CADENCE
                ],
            },
            "notes": list(self.notes),
            "headlines": list(self.headlines()),
        }

    def _area(self, level: float) -> float | None:
        skymap = self.skymap
        return None if skymap is None else skymaps.credible_area_deg2(skymap, level)


def assess(burst: Burst, detectors: DetectorTable, beliefs: Beliefs | None = None) -> Assessment:
    """Assess a burst. Detectors whose site is not known are told in the notes and left out."""
    beliefs = beliefs or Beliefs()
    classification, reality = classify(
        burst, beliefs.rules, failed_fraction=beliefs.failed_fraction
    )
    distance = best_distance(burst.superk, _yields(burst, detectors))
    place, notes = _place(burst, detectors, distance, beliefs)
    alive = classification.core_collapse + classification.failed
    p_failed = classification.failed / alive if alive > 0.0 else beliefs.failed_fraction
    return Assessment(
        burst=burst,
        reality=reality,
        classification=classification,
        distance=distance,
        waiting=WaitingTime(p_failed=p_failed),
        place=place,
        notes=notes,
    )


def _yields(burst: Burst, detectors: DetectorTable) -> list[Yield]:
    superk = burst.superk
    row = detectors.get("Super-K")
    if superk is None or row is None or row.events_10kpc is None or superk.n_events <= 0:
        return []
    return [Yield("Super-K", superk.n_events, row.events_10kpc)]


def _place(
    burst: Burst, detectors: DetectorTable, distance: Distance | None, beliefs: Beliefs
) -> tuple[Triangulation | None, tuple[str, ...]]:
    first = burst.first_time
    if first is None:
        return None, ()
    kpc = distance.kpc if distance else beliefs.distance_kpc
    notes: list[str] = []
    arrivals: list[Arrival] = []
    for one in burst.sightings:
        row = detectors.get(one.detector) if one.detector is not None else None
        if row is None:
            notes.append(f"{one.detector or 'a detector without a name'}: its site is not known")
            continue
        events = burst.superk.n_events if burst.superk and row.name == "Super-K" else None
        try:
            timing = row.timing("first_event", kpc, events)
        except SkyMapError as error:
            notes.append(f"{row.name}: {error}")
            continue
        arrivals.append(
            Arrival(
                detector=row.name,
                lon_deg=row.lon_deg,
                lat_deg=row.lat_deg,
                height_m=row.height_m,
                time_s=(one.time - first) / timedelta(seconds=1),
                sigma_s=timing.sigma_s,
                bias_s=timing.bias_s,
                bias_per_ln_distance_s=timing.bias_per_ln_distance_s,
            )
        )
    if not arrivals:
        return None, (*notes, "no detector whose site is known: no map")
    found = triangulate(
        arrivals,
        mjd_utc(first),
        pointings=_pointings(burst),
        ln_distance_sigma=distance.log_sigma if distance else _UNKNOWN_DISTANCE_SIGMA,
    )
    return found, (*notes, *found.notes)


def _pointings(burst: Burst) -> Sequence[Pointing]:
    """A position without a radius below half the sky is none: RA = Dec = 0, 360 deg."""
    superk = burst.superk
    if superk is None or superk.ra_deg is None or superk.dec_deg is None:
        return ()
    if superk.radius_deg is None or not 0.0 < superk.radius_deg < 180.0:
        return ()
    return (
        Pointing(
            superk.ra_deg,
            superk.dec_deg,
            superk.radius_deg,
            superk.containment or 0.68,
            source="Super-K",
        ),
    )


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None
