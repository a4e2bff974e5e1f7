"""A ranking in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mmcoord.records import PlanRow

__all__ = ["explain", "outlook"]


def outlook(rows: Sequence[PlanRow], n_targets: int | None = None) -> str:
    """What can be observed at all, in a line or two; why a plan is empty.

    ``n_targets``: of how many targets the rows are the first.
    """
    if not rows:
        return "The plan is empty: no candidate of this event was given to the planner."
    observable = [row for row in rows if row.instrument is not None]
    these = f"{len(rows)} targets"
    if n_targets is not None and n_targets > len(rows):
        these = f"the first {len(rows)} of {n_targets} targets"
    lines = [f"{len(observable)} of {these} can be observed in the coming day."]
    if not observable:
        lines.append("Nothing to observe. Why:")
        counts = Counter(row.reasons["observability"] for row in rows)
        lines += [f"  {count} x {reason}" for reason, count in sorted(counts.items())]
    return "\n".join(lines)


def explain(rows: Sequence[PlanRow], *, limit: int = 10) -> str:
    """The plan in words: why each of the first ``limit`` targets stands where it does.

    Says why a plan is empty, and why targets cannot be observed.
    """
    lines = [outlook(rows)]
    for row in rows[:limit]:
        lines.append(f"{row.rank}. {row.object_id}  score {row.score:.3g}")
        for name, reason in row.reasons.items():
            value = row.factors.get(name)
            shown = f"{value:.3f}" if value is not None else "  -  "
            lines.append(f"     {name:<13} {shown}  {reason}")
    if len(rows) > limit:
        lines.append(f"... and {len(rows) - limit} more.")
    return "\n".join(lines) + "\n"
