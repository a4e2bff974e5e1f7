"""What every route needs, in one place; made once by :func:`mmcoord.api.app.create_app`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from mmcoord.api.tail import JournalTail
from mmcoord.config import Settings
from mmcoord.store.database import Database

__all__ = ["Service", "ServiceDep"]


@dataclass(frozen=True, slots=True)
class Service:
    """The store to read, the settings, and the state of the sources."""

    database: Database
    settings: Settings
    sources_status: Callable[[], list[dict[str, Any]]]
    tail: JournalTail
    version: str
    wake: Callable[[], None] = lambda: None
    """Called when a caller has asked for work."""

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only looks, at one instant of the store."""
        with self.database.snapshot() as session:
            yield session

    def now(self) -> datetime:
        """Wall clock, UTC; ages on the page are counted from it."""
        return datetime.now(UTC)


def _service(request: Request) -> Service:
    found = request.app.state.service
    assert isinstance(found, Service)
    return found


ServiceDep = Annotated[Service, Depends(_service)]
