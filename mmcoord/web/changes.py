"""What changed: between two plan revisions, and from one alert to the next. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmcoord.store.views import AlertLine, Target
from mmcoord.web.text import amount, distance, far, top_class

__all__ = ["Move", "alert_changes", "compare"]

_SAME = 0.01
"""A score that changes by less than this share is called the same."""


@dataclass(frozen=True, slots=True)
class Move:
    """One target in two revisions of a plan; None where it is not in one."""

    object_id: str
    before: int | None
    after: int | None
    score_before: float | None
    score_after: float | None
    factor: str | None
    """The factor that changed most; None when none did."""
    factor_before: float | None
    factor_after: float | None


def compare(old: Sequence[Target], new: Sequence[Target]) -> list[Move]:
    """Targets that came, went, moved, or whose score changed; by their present rank."""
    before = {target.object_id: target for target in old}
    after = {target.object_id: target for target in new}
    moves = []
    for object_id in before.keys() | after.keys():
        was, now = before.get(object_id), after.get(object_id)
        if was and now and was.rank == now.rank and _close(was.score, now.score):
            continue
        name, low, high = _factor(was, now)
        moves.append(
            Move(
                object_id,
                was.rank if was else None,
                now.rank if now else None,
                was.score if was else None,
                now.score if now else None,
                name,
                low,
                high,
            )
        )
    return sorted(moves, key=lambda m: (m.after is None, m.after or m.before or 0, m.object_id))


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_SAME, abs_tol=1e-6)


def _factor(
    was: Target | None, now: Target | None
) -> tuple[str | None, float | None, float | None]:
    if was is None or now is None:
        return None, None, None
    old: Mapping[str, Any] = was.row.get("factors") or {}
    new: Mapping[str, Any] = now.row.get("factors") or {}
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if not names:
        return None, None, None
    name = max(names, key=lambda n: (abs(_number(new.get(n)) - _number(old.get(n))), n))
    return name, old.get(name), new.get(name)


def _number(value: float | None) -> float:
    return value if value is not None else 0.0


def alert_changes(before: AlertLine | None, after: AlertLine) -> list[str]:
    """What an alert says that the one before it did not."""
    if before is None:
        return ["first alert"]
    found = []
    if after.localization_id != before.localization_id:
        if after.localization_id is None:
            found.append("no map of its own")
        elif before.localization_id is None:
            found.append("first map")
        else:
            found.append("new map")
    shown = (
        ("90 % area", _area(before), _area(after)),
        (
            "distance",
            distance(before.distance_mpc, before.distance_std_mpc),
            distance(after.distance_mpc, after.distance_std_mpc),
        ),
        ("false alarms", far(before.far_hz), far(after.far_hz)),
        ("class", top_class(before.classification), top_class(after.classification)),
        ("significant", _yes(before.significant), _yes(after.significant)),
    )
    if after.alert_type == "RETRACTION":
        return ["retracted"]
    found += [f"{name} {old} → {new}" for name, old, new in shown if old != new]
    return found or ["same content"]


def _area(line: AlertLine) -> str:
    return f"{amount(line.area_90_deg2)} deg²"


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "not stated"}[value]
