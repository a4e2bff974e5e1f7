"""What the API reads of one run, as cheaply as the question allows; visibility in one place."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal_column, select
from sqlalchemy.orm import Session

from mmcoord.store.tables import RunRow, ScreeningRow
from mmcoord.store.types import table

__all__ = [
    "PUBLIC",
    "RunContent",
    "RunHead",
    "Word",
    "content",
    "head",
    "newest_words",
    "state_told",
    "states",
    "summary_if_done",
    "visible_to",
]

PUBLIC = "public"
_run: Any = table(RunRow)
_screening: Any = table(ScreeningRow)


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


@dataclass(frozen=True, slots=True)
class Word:
    """What the inference of a candidate says of it."""

    run_key: str
    p_kilonova: float | None
    """None: of its class it says nothing."""


def state_told() -> ColumnElement[str]:
    """A run's state as people are told it: what rests does not count as queued."""
    # Literals, not parameters: PostgreSQL must see the same where it groups by this.
    rests = and_(_run.c.state == literal_column("'queued'"), _run.c.resting.is_(True))
    return case((rests, literal_column("'resting'")), else_=_run.c.state)


def newest_words(session: Session, event_id: str) -> dict[str, Word]:
    """Per object the finished run for its newest data, else the last one that finished; tainted
    runs do not count, and an object that newer data have ruled out without a run has none."""
    done = session.execute(
        select(
            _run.c.object_id,
            _run.c.run_key,
            _run.c.summary["p_kilonova"].as_float().label("p_kilonova"),
            _screening.c.object_id.is_not(None).label("is_screened"),
            _screening.c.run_key.label("wanted"),
        )
        .outerjoin(
            _screening,
            and_(
                _screening.c.event_id == _run.c.event_id,
                _screening.c.object_id == _run.c.object_id,
            ),
        )
        .where(_run.c.event_id == event_id, _run.c.state == "done", _run.c.tainted_at.is_(None))
        .order_by(_run.c.created_at, _run.c.run_key)
    )
    newest: dict[str, Word] = {}
    for row in done:
        if row.is_screened and row.wanted is None:
            continue  # the screen speaks
        held = newest.get(row.object_id)
        if held is not None and row.p_kilonova is None:
            continue  # a model asked alone says nothing of the class
        if held is None or held.run_key != row.wanted:
            newest[row.object_id] = Word(row.run_key, row.p_kilonova)
    return newest


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
