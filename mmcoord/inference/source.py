"""A model from others as a job carries it: name, version, text. Light, like :mod:`.job`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

__all__ = ["Speed", "UserSource"]

Speed = Literal["fast", "medium", "slow"]
"""By the measured time of a light curve; decides how many of them a fit may ask for."""


@dataclass(frozen=True, slots=True)
class UserSource:
    """Everything that is needed to run a user's model again."""

    name: str
    version: int
    """Of the store; 0: a file that is in no store."""
    source: str
    speed: Speed = "fast"

    @property
    def sha256(self) -> str:
        """Of the source text."""
        return hashlib.sha256(self.source.encode()).hexdigest()
