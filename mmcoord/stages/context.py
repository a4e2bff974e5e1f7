"""What every stage is handed: the store, the settings, the plug-ins, the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import entry_points
from typing import Any, cast

import httpx
from sqlalchemy import func, select
from sqlmodel import col

from followup.sinks.base import Build, Sink
from followup.sites import Catalogue, load_catalogue
from listeners.base import Source
from mmcoord.config import Settings
from mmcoord.errors import ConfigError
from mmcoord.policy import Policy
from mmcoord.store.database import Database
from mmcoord.store.tables import NoticeRow
from skymaps.detectors import DetectorTable, builtin_detectors

__all__ = ["Context", "load_sinks", "load_sources", "utc_now"]


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Context:
    """Handed to every stage; holds no state of its own that a crash could lose."""

    database: Database
    settings: Settings
    sources: Mapping[str, Source]
    sinks: Mapping[str, Sink]
    policy: Policy = field(default_factory=Policy)
    """What is published without asking a person."""
    catalogue: Catalogue = field(default_factory=load_catalogue)
    detectors: DetectorTable = field(default_factory=builtin_detectors)
    """Of neutrinos: the built-in table with the user's own."""
    now: Callable[[], datetime] = utc_now
    """The wall clock: when something was received, is due, was done."""
    wake: Callable[[], None] = lambda: None
    """Called when something was received or done: loops that wait for work need not poll for it."""

    def data_now(self) -> datetime:
        """The instant for which plans are made.

        The wall clock in production. In a replay (``clock = "data"``) the time of the newest
        content, so that the same data give the same plan whenever they are replayed.
        """
        if self.settings.clock == "data":
            with self.database.read() as session:
                newest = session.execute(select(func.max(col(NoticeRow.sent_at)))).scalar_one()
            if newest is not None:
                return cast(datetime, newest)
        return self.now()


def load_sources() -> dict[str, Source]:
    """All installed listeners by name (entry points ``mmcoord.listeners``)."""
    found = {}
    for point in entry_points(group="mmcoord.listeners"):
        source = point.load()
        if not isinstance(source, Source):
            raise ConfigError(f"listener {point.name!r} ({point.value}) is not a Source")
        found[point.name] = source
    return found


def load_sinks(settings: Settings, client: httpx.Client) -> dict[str, Sink]:
    """The configured sinks, built by their entry points ``mmcoord.sinks``.

    Raises
    ------
    ConfigError
        Unknown kind, or settings that the sink does not take.
    """
    builders = {point.name: point for point in entry_points(group="mmcoord.sinks")}
    sinks: dict[str, Sink] = {}
    for name, wanted in settings.sinks.items():
        if wanted.kind not in builders:
            raise ConfigError(
                f"sinks.{name}.kind: {wanted.kind!r} is none of {', '.join(sorted(builders))}"
            )
        build = cast(Build, builders[wanted.kind].load())
        options: dict[str, Any] = {**wanted.options, "practice": wanted.practice}
        sinks[name] = build(name, options, client)
    return sinks
