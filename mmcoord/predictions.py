"""What may be seen of a candidate in the coming days: the record between engine and planner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["ClassPredictions"]


@dataclass(frozen=True, slots=True)
class ClassPredictions:
    """What each class of source would show, given what was seen so far.

    Draws are of equal weight within a class. A draw is one light curve: the same index in all
    bands and times, so that observations of several bands or nights can be weighed together.
    """

    classes: tuple[str, ...]
    """``kilonova`` first, then the contaminants."""
    probability: npt.NDArray[np.float64]
    """(n_classes,) P(class | data), adds up to 1."""
    bands: tuple[str, ...]
    """Canonical names."""
    mjd_tai: npt.NDArray[np.float64]
    """(n_times,) increasing."""
    magnitudes: npt.NDArray[np.float32]
    """(n_classes, n_draws, n_bands, n_times) apparent AB magnitude without photometric noise, as
    observed (Milky Way extinction included if the photometry has it); 60: no light."""
    origin: Literal["inference", "screen"]
    """Whose probabilities: the finished run's, or the screen's."""
