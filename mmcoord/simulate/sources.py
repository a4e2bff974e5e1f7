"""What a practice superevent comes from, and what its notices then say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["SOURCES", "GwSource", "Origin", "Scenario"]


class Origin(StrEnum):
    """Classes of superevents."""

    BNS = "BNS"
    NSBH = "NSBH"
    BBH = "BBH"
    BURST = "burst"


@dataclass(frozen=True, slots=True)
class GwSource:
    """One class: the numbers of its notices, and how far away it is."""

    distance_mpc: tuple[float, float]
    """Drawn uniformly between these: a practice event is near enough to be followed."""
    classification: Mapping[str, float] = field(default_factory=dict)
    properties: Mapping[str, float] = field(default_factory=dict)
    group: str = "CBC"
    pipeline: str = "gstlal"
    duration_s: float | None = None
    central_frequency_hz: float | None = None
    is_3d: bool = True
    has_kilonova: bool = True


SOURCES: Mapping[Origin, GwSource] = {
    Origin.BNS: GwSource(
        distance_mpc=(60.0, 140.0),
        classification={"BNS": 0.97, "NSBH": 0.01, "BBH": 0.0, "Terrestrial": 0.02},
        properties={"HasNS": 1.0, "HasRemnant": 1.0, "HasMassGap": 0.0},
    ),
    Origin.NSBH: GwSource(
        distance_mpc=(80.0, 180.0),
        classification={"BNS": 0.02, "NSBH": 0.92, "BBH": 0.03, "Terrestrial": 0.03},
        properties={"HasNS": 1.0, "HasRemnant": 0.9, "HasMassGap": 0.1},
    ),
    Origin.BBH: GwSource(
        distance_mpc=(400.0, 1500.0),
        classification={"BNS": 0.0, "NSBH": 0.01, "BBH": 0.98, "Terrestrial": 0.01},
        properties={"HasNS": 0.0, "HasRemnant": 0.0, "HasMassGap": 0.02},
        has_kilonova=False,
    ),
    Origin.BURST: GwSource(
        distance_mpc=(5.0, 50.0),
        group="Burst",
        pipeline="CWB",
        duration_s=0.02,
        central_frequency_hz=235.0,
        is_3d=False,
        has_kilonova=False,
    ),
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A superevent and what becomes of it."""

    origin: Origin = Origin.BNS
    promoted: bool = False
    """First of low significance, 40 minutes later significant."""
    retracted: bool = False
    """Taken back when its candidates are in."""
    with_grb: bool = False
    """A gamma-ray burst 1.7 s later, and an update that names it."""
