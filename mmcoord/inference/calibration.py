"""From the bank's odds to odds that come true: a map fitted on simulated candidates.

The bank is coarse, so the log of its Bayes factor (kilonova against the mixture of contaminants)
is stretched and shifted, by an amount for each number of detections. The map acts on the Bayes
factor, not on the probability, so that it holds for any base rate. ``python -m
benchmarks.inference_calibration --fit`` writes the file.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from mmcoord.inference import bank_curves

__all__ = ["PATH", "Calibration", "installed", "recipe"]

PATH = Path(__file__).with_name("screen_calibration.json")

_log = logging.getLogger(__name__)


@functools.lru_cache(maxsize=1)
def recipe() -> str:
    """sha256 of what ln B follows from: the bank's recipe and how candidates are compared."""
    digest = hashlib.sha256(bank_curves.recipe().encode())
    for name in ("screen_kernels.py", "screening.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Calibration:
    """ln B -> shift + stretch ln B, within +- ``limit``."""

    recipe: str
    """What it was fitted for; see :func:`recipe`."""
    shift: tuple[float, ...]
    """For 1, 2, ... detections; the last one serves all larger numbers."""
    stretch: tuple[float, ...]
    limit: float
    """Beyond it nothing was measured."""

    def __call__(self, log_bayes: float, n_detections: int) -> float:
        k = min(n_detections, len(self.shift)) - 1
        mapped = self.shift[k] + self.stretch[k] * log_bayes
        return min(max(mapped, -self.limit), self.limit)

    @property
    def is_current(self) -> bool:
        """Whether it was fitted for the bank as it is."""
        return self.recipe == recipe()


@functools.lru_cache(maxsize=1)
def installed() -> Calibration:
    """The map that comes with the code. One that was fitted for another bank still serves, and
    the log says so."""
    content = json.loads(PATH.read_text())
    found = Calibration(
        str(content["recipe"]),
        tuple(float(x) for x in content["shift"]),
        tuple(float(x) for x in content["stretch"]),
        float(content["limit"]),
    )
    if not found.is_current:
        _log.warning(
            "screening: the calibration was fitted for another bank (%s, now %s): "
            "python -m benchmarks.inference_calibration --fit",
            found.recipe[:12],
            recipe()[:12],
        )
    return found
