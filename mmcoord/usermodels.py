"""Models from others in the store: added after their checks, kept in every version.

A version's text and report never change; "retired" only keeps it from being used by new runs.
Runs carry the text of the models that they used, so old ones can be repeated whatever happens
here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.errors import BadModel, UnknownRecord
from mmcoord.inference.models import registry
from mmcoord.inference.source import UserSource
from mmcoord.store.tables import UserModelRow

if TYPE_CHECKING:
    from mmcoord.inference.conformance import Report
    from mmcoord.inference.usermodel import UserModel

__all__ = ["add", "asked", "check_name", "document", "listing", "retire", "sources", "version_of"]

ACCEPTED, REFUSED, RETIRED = "accepted", "refused", "retired"


def check_name(model: UserModel) -> None:
    """Refuse a name that an installed model has.

    Raises
    ------
    BadModel
        The name is taken.
    """
    if model.name == "all" or model.name in registry.names():
        raise BadModel("the name is taken by an installed model", where=f"model {model.name}")


def add(
    session: Session, model: UserModel, report: Report, uploaded_by: str, now: datetime
) -> UserModelRow:
    """Store a checked model as the next version of its name, accepted or refused.

    The text of the newest accepted version again is no new version. Needs a write transaction.

    Raises
    ------
    BadModel
        The name is taken by an installed model, or the report is of another text.
    """
    check_name(model)
    if report.source_sha256 != model.source.sha256:
        raise BadModel("the report is of another text", where=f"model {model.name}")
    newest = session.execute(
        select(UserModelRow)
        .where(col(UserModelRow.name) == model.name, col(UserModelRow.state) == ACCEPTED)
        .order_by(col(UserModelRow.version).desc())
        .limit(1)
    ).scalar_one_or_none()
    if newest is not None and newest.sha256 == model.source.sha256:
        return newest
    last = session.execute(
        select(func.max(col(UserModelRow.version))).where(col(UserModelRow.name) == model.name)
    ).scalar_one()
    row = UserModelRow(
        name=model.name,
        version=(last or 0) + 1,
        sha256=model.source.sha256,
        source=model.source.source,
        uploaded_by=uploaded_by,
        added_at=now,
        state=ACCEPTED if report.accepted else REFUSED,
        speed=report.speed,
        report=report.to_json(),
    )
    session.add(row)
    session.flush()
    return row


def sources(session: Session, names: Iterable[str]) -> tuple[UserSource, ...]:
    """What a job needs of those names that are not of installed models.

    ``name`` is the newest accepted version, ``name@3`` a certain one. The names of the returned
    sources carry no version.

    Raises
    ------
    BadModel
        The version was refused or retired, or two versions of one model are named.
    UnknownRecord
        Neither installed nor in the store.
    """
    known = {*registry.names(), "all"}
    found: dict[str, UserSource] = {}
    for name in sorted({name for name in names if name not in known}):
        row = _usable(session, name)
        if row.name in found:
            raise BadModel("two versions at once", where=f"model {row.name}")
        found[row.name] = UserSource(row.name, row.version, row.source, _speed(row))
    return tuple(found.values())


def asked(session: Session, names: Sequence[str]) -> tuple[tuple[str, ...], tuple[UserSource, ...]]:
    """``models`` and ``user_models`` of a job, from names as people write them (``name@3``).

    Raises
    ------
    BadModel, UnknownRecord
        As :func:`sources`.
    """
    return tuple(version_of(name)[0] for name in names), sources(session, names)


def _usable(session: Session, wanted: str) -> UserModelRow:
    name, version = version_of(wanted)
    if version is not None:
        row = _row(session, name, version)
        if row.state != ACCEPTED:
            raise BadModel(f"version {version} is {row.state}", where=f"model {name}")
        return row
    query = select(UserModelRow).where(
        col(UserModelRow.name) == name, col(UserModelRow.state) == ACCEPTED
    )
    newest = session.execute(query.order_by(col(UserModelRow.version).desc()).limit(1))
    found = newest.scalar_one_or_none()
    if found is None:
        raise UnknownRecord(f"no accepted model {name!r}; installed: {', '.join(registry.names())}")
    return found


def _speed(row: UserModelRow) -> Any:
    return row.speed or "slow"


def version_of(wanted: str) -> tuple[str, int | None]:
    """``name@3`` -> (name, 3); ``name`` -> (name, None).

    Raises
    ------
    UnknownRecord
        What follows the @ is not a number.
    """
    name, at, version = wanted.partition("@")
    if not at:
        return name, None
    if not version.isdigit():
        raise UnknownRecord(f"{wanted!r}: a version is a number, as in {name}@1")
    return name, int(version)


def retire(session: Session, name: str, version: int | None = None) -> list[int]:
    """Keep a version, or every version of a name, from new runs; returns which.

    Raises
    ------
    UnknownRecord
        No such model or version.
    """
    if version is not None:
        rows = [_row(session, name, version)]
    else:
        query = select(UserModelRow).where(col(UserModelRow.name) == name)
        rows = list(session.execute(query.order_by(col(UserModelRow.version))).scalars())
        if not rows:
            raise UnknownRecord(f"no model {name!r}")
    changed = [row for row in rows if row.state == ACCEPTED]
    for row in changed:
        row.state = RETIRED
    return [row.version for row in changed]


def listing(session: Session) -> list[dict[str, Any]]:
    """All versions of all models, newest last, without text and report."""
    rows = session.execute(
        select(UserModelRow).order_by(col(UserModelRow.name), col(UserModelRow.version))
    ).scalars()
    return [_short(row) for row in rows]


def document(session: Session, wanted: str) -> dict[str, Any]:
    """One version (the newest, whatever its state, for a bare name) with text and report.

    Raises
    ------
    UnknownRecord
        No such model or version.
    """
    name, version = version_of(wanted)
    if version is None:
        version = session.execute(
            select(func.max(col(UserModelRow.version))).where(col(UserModelRow.name) == name)
        ).scalar_one()
    row = _row(session, name, version or 0)
    return {**_short(row), "report": row.report, "source": row.source}


def _row(session: Session, name: str, version: int) -> UserModelRow:
    row = session.get(UserModelRow, (name, version))
    if row is None:
        raise UnknownRecord(f"no model {name!r}" + (f", version {version}" if version else ""))
    return row


def _short(row: UserModelRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "version": row.version,
        "state": row.state,
        "speed": row.speed,
        "sha256": row.sha256,
        "uploaded_by": row.uploaded_by,
        "added_at": row.added_at.isoformat(),
    }
