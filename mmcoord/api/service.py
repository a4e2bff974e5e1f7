"""What every route needs, in one place; made once by :func:`mmcoord.api.app.create_app`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from listeners.base import Source
from mmcoord.api.runwatch import RunWatch
from mmcoord.api.tail import JournalTail
from mmcoord.config import Settings
from mmcoord.posteriors.workshop import Workshop
from mmcoord.store.alarms import AlarmLine, open_alarms
from mmcoord.store.database import Database
from mmcoord.store.tables import RunRow
from mmcoord.web.drawings import Drawings

__all__ = ["Service", "ServiceDep"]


@dataclass(frozen=True, slots=True)
class Service:
    """The store to read, the settings, and the state of the sources."""

    database: Database
    settings: Settings
    sources_status: Callable[[], list[dict[str, Any]]]
    tail: JournalTail
    run_watch: RunWatch
    version: str
    sources: Mapping[str, Source]
    """Who reads which payloads; for showing what a notice says."""
    watched_at: Callable[[], datetime | None] | None = None
    """When the watchdog last looked; None where none runs."""
    wake: Callable[[], None] = lambda: None
    """Called when a caller has asked for work."""
    workshop: Workshop = field(default_factory=Workshop)
    """Makes pictures and predictions."""
    tell: Callable[[Session, RunRow], object] = lambda session, row: None
    """Writes what others are told of a run that a worker has done."""
    drawings: Drawings = field(default_factory=Drawings)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only looks, at one instant of the store."""
        with self.database.snapshot() as session:
            yield session

    def alarms(self) -> list[AlarmLine]:
        """The alarms that stand; none when the store cannot say."""
        try:
            with self.database.read() as session:
                return open_alarms(session)
        except SQLAlchemyError:
            return []  # the page that is being made says itself that the store is away

    def now(self) -> datetime:
        """Wall clock, UTC; ages on the page are counted from it."""
        return datetime.now(UTC)


async def _service(request: Request) -> Service:  # no thread needed: it only looks it up
    found = request.app.state.service
    assert isinstance(found, Service)
    return found


ServiceDep = Annotated[Service, Depends(_service)]
