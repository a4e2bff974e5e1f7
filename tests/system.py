"""Parts of the system that tests need and a machine may lack."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test because ``what`` is not here; in CI that is a failure."""
    message = f"system part missing: {what}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
