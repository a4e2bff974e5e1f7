"""What the service answers, as the client gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Model", "Prediction", "Run", "Submitted"]

_ENDED = frozenset({"done", "failed", "superseded"})


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a request; see ``mmcoord.runs.Submitted``."""

    run_key: str
    state: str
    how: str
    """``executed``, ``coalesced``, ``cached``."""
    summary: Mapping[str, Any] | None = None
    """The answer, if it was there already."""


@dataclass(frozen=True, slots=True)
class Run:
    """One inference as the service shows it."""

    run_key: str
    state: str
    """queued, running, done, failed, superseded."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """Empty until done; shape in docs/inference.md."""
    light_curve: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    resting: bool = False
    """Queued, and not taken before it is asked for (``submit``) or its odds are better."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in _ENDED


@dataclass(frozen=True, slots=True)
class Prediction:
    """Quantiles of the predicted AB magnitude, without photometric noise."""

    model: str
    n_draws: int
    bands: tuple[str, ...]
    t_day: tuple[float, ...]
    """Days after the event."""
    mjd_tai: tuple[float, ...]
    quantiles: Mapping[str, Mapping[str, list[float | None]]]
    """Band -> ``q05``, ``q16``, ``q50``, ``q84``, ``q95``; None: fainter than 40 mag."""


@dataclass(frozen=True, slots=True)
class Model:
    """One version of an uploaded model."""

    name: str
    version: int
    state: str
    """checking, accepted, refused, retired."""
    speed: str | None
    uploaded_by: str
    report: Mapping[str, Any] = field(default_factory=dict)
    """What the checks found; given by ``model`` and ``wait_for_model``."""
    source: str = ""

    @property
    def is_checked(self) -> bool:
        """Whether there is a verdict."""
        return self.state != "checking"
