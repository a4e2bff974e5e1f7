"""Survey packets from a topic of practice: what is read from them is practice.

A Rubin packet has no field that says so; the topic has to. These sources are never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from listeners.base import Source
from listeners.brokers import fink, rubin
from listeners.vetoes import NO_VETOES, Vetoes
from mmcoord.records import Candidate, ParsedRecord

__all__ = ["FINK", "RUBIN"]


def _practice(name: str, of: Source) -> Source:
    def sift(payload: bytes, vetoes: Vetoes) -> Sequence[ParsedRecord]:
        return [
            replace(record, is_practice=True) if isinstance(record, Candidate) else record
            for record in of.read(payload, vetoes)
        ]

    return replace(
        of,
        name=name,
        parse=lambda payload: sift(payload, NO_VETOES),
        sift=sift,
        topics=(f"practice.{name}",),
        description=f"{of.description}: practice, whatever they say",
        is_drill=True,
    )


RUBIN = _practice("rubin_practice", rubin.SOURCE)
FINK = _practice("fink_practice", fink.SOURCE)
