"""The fixture ``tom``: a real TOM Toolkit for the session.

Tests share one TOM: each uses events, names and sky positions of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fixtures_postgres import fresh_database
from tests.system import missing
from tests.tom_server import TomServer, TomUnavailable, running_tom


@pytest.fixture(scope="session")
def tom_with_app() -> Iterator[TomServer]:
    """A running TOM that has our Django app."""
    try:
        with running_tom(app=True) as server:
            yield server
    except TomUnavailable as error:
        missing(f"TOM Toolkit: {error}")


@pytest.fixture(scope="session")
def tom_with_events(postgres_server: str) -> Iterator[TomServer]:
    """A running TOM that has ``tom_nonlocalizedevents``."""
    try:
        with (
            fresh_database(postgres_server) as url,
            running_tom(events_at=url) as server,
        ):
            yield server
    except TomUnavailable as error:
        missing(f"tom_nonlocalizedevents: {error}")


@pytest.fixture(scope="session")
def tom() -> Iterator[TomServer]:
    """A running TOM."""
    try:
        with running_tom() as server:
            yield server
    except TomUnavailable as error:
        missing(f"TOM Toolkit: {error}")
