"""The fixture ``tom``: a real TOM Toolkit for the session; load with ``pytest_plugins``.

Tests share one TOM: each uses events, names and sky positions of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.tom_server import TomServer, TomUnavailable, running_tom


@pytest.fixture(scope="session")
def tom() -> Iterator[TomServer]:
    """A running TOM; skips with the reason, or fails when ``MMCOORD_REQUIRE_TOM`` is set."""
    try:
        with running_tom() as server:
            yield server
    except TomUnavailable as error:
        if os.environ.get("MMCOORD_REQUIRE_TOM"):
            raise
        pytest.skip(f"no TOM Toolkit here: {error}")
