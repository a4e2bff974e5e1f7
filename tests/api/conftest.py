from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from mmcoord.access import Scope
from mmcoord.api.app import create_app
from mmcoord.config import Settings
from mmcoord.store import access
from mmcoord.store.database import Database


@pytest.fixture
def client(database: Database) -> Iterator[TestClient]:
    """The application on an empty store."""
    with TestClient(create_app(database, Settings(), list)) as found:
        yield found


def make_token(
    database: Database,
    group: str,
    *scopes: Scope,
    quota_cpu_s: float = 1000.0,
    valid_day: float = 1.0,
) -> dict[str, str]:
    """Headers of a new token of a group, which is made where it is not there yet."""
    now = datetime.now(UTC)
    with database.write() as session:
        access.add_group(
            session, group, quota_cpu_s=quota_cpu_s, period_day=30.0, priority=0.5, now=now
        )
        session.flush()
        _, minted = access.add_token(
            session,
            group,
            label="test",
            scopes=scopes or (Scope.READ, Scope.RUN),
            valid_day=valid_day,
            now=now,
        )
    return {"Authorization": f"Bearer {minted.text}"}
