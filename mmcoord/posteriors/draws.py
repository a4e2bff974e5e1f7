"""Posterior draws as they lie in the store."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "columns"]

Array = npt.NDArray[np.float64]


def columns(samples: bytes) -> dict[str, Array]:
    """Parameter name -> (n,) equal-weight draws, of an ``npz`` that the engine made."""
    with np.load(io.BytesIO(samples), allow_pickle=False) as stored:
        return {name: np.asarray(stored[name], dtype=np.float64) for name in stored.files}
