"""The one place that knows where the real data are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_ROOT = Path(os.environ.get("MMCOORD_SHARED", Path(__file__).parents[2] / "shared"))


def shared(relative: str) -> Path:
    """Path of a real data file or folder; skips the test with the reason if it is absent."""
    path = _ROOT / "data" / relative
    if not path.exists():
        pytest.skip(f"real data not here: {path} (set MMCOORD_SHARED)")
    return path


def have_shared() -> bool:
    """Whether the real data are on this machine."""
    return (_ROOT / "data").is_dir()
