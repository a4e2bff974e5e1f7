"""Plan rows as JSON and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mmcoord.records import PlanRow

__all__ = ["row_from_json", "row_to_json"]


def row_to_json(row: PlanRow) -> dict[str, Any]:
    """A plan row as a JSON document."""
    document = dataclasses.asdict(
        dataclasses.replace(row, factors=dict(row.factors), reasons=dict(row.reasons))
    )
    document["start"] = row.start.isoformat() if row.start else None
    return document


def row_from_json(document: Mapping[str, Any]) -> PlanRow:
    """The plan row of :func:`row_to_json`."""
    start = document["start"]
    return PlanRow(**{**document, "start": datetime.fromisoformat(start) if start else None})
