"""LSST alerts as JSON: Rubin's fields, written by a broker as JSON instead of Avro.

NaN and absent values are null, pictures are left out or base64 text. JSON does not tell a whole
number from a float, so that the measured fields are made floats before the common reader
(:mod:`listeners.brokers.lsst`) sees them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from listeners.brokers import lsst
from listeners.fields import json_object
from listeners.vetoes import Vetoes
from mmcoord.errors import BadNotice
from mmcoord.records import Candidate, Photometry, Vetoed

__all__ = ["alert", "sift_as"]

_MEASURED = (
    "midpointMjdTai",
    "psfFlux",
    "psfFluxErr",
    "ra",
    "dec",
    "raErr",
    "decErr",
    "timeWithdrawnMjdTai",
    "firstDiaSourceMjdTai",
    "reliability",
)
_PARTS = ("diaSource", "diaObject")
_LISTS = ("prvDiaSources", "prvDiaForcedSources")


def sift_as(
    payload: bytes, listener: str, vetoes: Vetoes
) -> list[Candidate | Photometry] | list[Vetoed]:
    """One alert, unless a veto leaves it out.

    Raises
    ------
    BadInput
        No JSON object, no source in it, or impossible values.
    """
    return lsst.sift_alert(alert(json_object(payload)), vetoes, listener)


def alert(document: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of an alert that matter, with floats where Rubin has floats."""
    found: dict[str, Any] = {key: _floats(document.get(key)) for key in _PARTS}
    for key in _LISTS:
        value = document.get(key)
        found[key] = [_floats(item) for item in value] if isinstance(value, list) else None
    return found


def _floats(part: Any) -> Any:
    if not isinstance(part, dict):
        return None
    return {key: _float(value) if key in _MEASURED else value for key, value in part.items()}


def _float(value: Any) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return float(value)
    except OverflowError:
        raise BadNotice("a huge integer", where="diaSource") from None
