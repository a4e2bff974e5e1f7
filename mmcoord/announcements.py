"""What is told to everybody of a public inference: that it is done, or no longer holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

__all__ = ["Announcement", "RunStatus"]


class RunStatus(StrEnum):
    """What became of a run that everybody may see."""

    DONE = "done"
    SUPERSEDED = "superseded"
    """Newer data of the same object gave a newer run, which says so itself (``supersedes``)."""
    TAINTED = "tainted"
    """A point that went into it was withdrawn or edited: it must not be used any more."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """One statement about one public run of a candidate of an event."""

    run_key: str
    status: RunStatus
    at: datetime
    """When it became so."""
    event_id: str
    event_aliases: tuple[str, ...]
    messenger: str
    event_time: datetime | None
    is_practice: bool
    object_id: str
    ra_deg: float
    dec_deg: float
    summary: Mapping[str, Any]
    """The run's; shape in docs/inference.md."""
    supersedes: tuple[str, ...] = ()
    """Keys of earlier runs of the same pair that were announced."""
    run_url: str | None = None
    """Where the whole answer is."""
