"""Joining what several notices say of one revision of an event.

The same notice comes by several brokers and in several formats (Avro and JSON, JSON and
VOEvent), sometimes with more in one than in the other. The join is commutative, associative
and idempotent in every field, so that neither the order of arrival nor a repeat matters:
what is known goes before what is not, and where two disagree the greater stands. The greater
false-alarm rate is the careful one; practice, once said, holds.
"""

from __future__ import annotations

import json
from typing import Any

from mmcoord.store.tables import AlertRow

__all__ = ["joined"]

_SCALARS = (
    "messenger", "event_time", "significant", "far_hz", "group", "pipeline", "search",
    "is_practice",
)  # fmt: skip
_SETS = ("instruments", "aliases")
_MAPS = ("classification", "properties", "urls", "extra")


def joined(known: AlertRow, other: AlertRow) -> dict[str, Any]:
    """Fields of ``known`` that ``other`` changes, with their new values. Pure."""
    found: dict[str, Any] = {}
    for field in _SCALARS:
        found[field] = _greater(getattr(known, field), getattr(other, field))
    for field in _SETS:
        one, two = getattr(known, field), getattr(other, field)
        found[field] = one if one == two else sorted({*one, *two})
    for field in _MAPS:
        found[field] = _merged(getattr(known, field), getattr(other, field))
    found["external"] = max(known.external, other.external, key=_external_rank)
    return {field: value for field, value in found.items() if value != getattr(known, field)}


def _greater(one: Any, two: Any) -> Any:
    if one is None or two is None:
        return two if one is None else one
    return max(one, two)


def _merged(one: Any, two: Any) -> Any:
    if isinstance(one, dict) and isinstance(two, dict):
        return {
            key: _merged(one[key], two[key])
            if key in one and key in two
            else one.get(key, two.get(key))
            for key in sorted({*one, *two})
        }
    return max(one, two, key=_canonical)


def _external_rank(external: dict[str, Any]) -> tuple[bool, bool, str]:
    """A coincidence is taken whole: a mixture of two would be neither."""
    has_map = external.get("combined_localization_id") is not None
    return (bool(external), has_map, _canonical(external))


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
