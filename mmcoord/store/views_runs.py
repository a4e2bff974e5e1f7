"""What the API reads of one run, as cheaply as the question allows; visibility in one place."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mmcoord.store.tables import RunRow
from mmcoord.store.types import table

__all__ = [
    "PUBLIC",
    "RunContent",
    "RunHead",
    "content",
    "head",
    "states",
    "summary_if_done",
    "visible_to",
]

PUBLIC = "public"
_run: Any = table(RunRow)


@dataclass(frozen=True, slots=True)
class RunHead:
    """How a run stands, without its answer."""

    run_key: str
    state: str
    partition: str
    error: str | None
    finished_at: datetime | None
    t0_mjd_tai: float
    """Time of the event."""
    has_samples: bool


@dataclass(frozen=True, slots=True)
class RunContent:
    """Question and answer of a run that is done."""

    run_key: str
    job: dict[str, Any]
    summary: dict[str, Any]
    light_curve: dict[str, Any]
    samples: bytes

    @property
    def model(self) -> str:
        """The model whose posterior is stored."""
        return str(self.summary.get("model"))

    def unit(self, parameter: str) -> str:
        """Of a parameter; empty if it has none."""
        return str(self.summary.get("parameters", {}).get(parameter, {}).get("unit") or "")


def visible_to(group: str | None) -> tuple[str, ...]:
    """The partitions that somebody of a group (None: anybody) may see."""
    return (PUBLIC,) if group is None else (PUBLIC, group)


def head(session: Session, run_key: str, group: str | None = None) -> RunHead | None:
    """A run's head; None when there is none of that key that ``group`` may see."""
    computed = {
        "t0_mjd_tai": _run.c.job["t0_mjd_tai"].as_float(),
        "has_samples": func.coalesce(func.length(_run.c.samples), 0) > 0,
    }
    columns = [_run.c[name] for name in RunHead.__dataclass_fields__ if name not in computed]
    row = session.execute(
        select(*columns, *(value.label(name) for name, value in computed.items()))
        .where(_run.c.run_key == run_key)
        .where(_run.c.partition.in_(visible_to(group)))
    ).mappings().one_or_none()  # fmt: skip
    return RunHead(**{**row, "has_samples": bool(row["has_samples"])}) if row else None


def states(session: Session, run_keys: Collection[str]) -> dict[str, str]:
    """The state of each run that there is, whoever may see it."""
    rows = session.execute(select(_run.c.run_key, _run.c.state).where(_run.c.run_key.in_(run_keys)))
    return {key: state for key, state in rows}


def summary_if_done(session: Session, run_key: str) -> dict[str, Any] | None:
    """The answer of a run that is done, for whoever has just asked its very question."""
    found: dict[str, Any] | None = session.execute(
        select(_run.c.summary).where(_run.c.run_key == run_key, _run.c.state == "done")
    ).scalar_one_or_none()
    return found


def content(session: Session, run_key: str, group: str | None = None) -> RunContent | None:
    """A run's content; None where :func:`head` is None or has no samples."""
    columns = [_run.c[name] for name in RunContent.__dataclass_fields__]
    row = session.execute(
        select(*columns)
        .where(_run.c.run_key == run_key, _run.c.samples.is_not(None))
        .where(_run.c.partition.in_(visible_to(group)))
    ).mappings().one_or_none()  # fmt: skip
    return RunContent(**row) if row else None
