"""How far a listener that polls has got: the only code that reads or writes ``cursor``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from mmcoord.store.queue import insert_for
from mmcoord.store.tables import CursorRow
from mmcoord.store.types import table

__all__ = ["Place", "stored_place"]

_cursor: Any = table(CursorRow)


@dataclass(frozen=True, slots=True)
class Place:
    """The place of one listener."""

    listener: str
    """Name of the connection in the configuration."""
    position: Mapping[str, Any]

    def store(self, session: Session, now: datetime) -> None:
        """Write it, in the transaction of what it covers."""
        statement = insert_for(session, _cursor).values(
            listener=self.listener, position=dict(self.position), updated_at=now
        )
        new = statement.excluded
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["listener"],
                set_={"position": new.position, "updated_at": new.updated_at},
            )
        )


def stored_place(session: Session, listener: str) -> dict[str, Any] | None:
    """The stored position of a listener; None when it has none."""
    row = session.get(CursorRow, listener)
    return dict(row.position) if row is not None else None
