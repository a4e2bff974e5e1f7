"""Models from others in the store: added after their checks, kept in every version.

A version's text never changes, nor its report once there is one; "retired" only keeps it from being
used by new runs. What comes over the network is stored as "checking" and judged afterwards by
:mod:`mmcoord.stages.modelcheck`. A name belongs to whoever uploaded its first version. Runs carry
the text of the models that they used, so old ones can be repeated whatever happens here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.errors import BadModel, Busy, NameTaken, UnknownRecord
from mmcoord.inference.models import registry
from mmcoord.inference.source import UserSource
from mmcoord.store.tables import UserModelRow

if TYPE_CHECKING:
    from mmcoord.inference.conformance import Report
    from mmcoord.inference.usermodel import UserModel

__all__ = [
    "CHECKING",
    "add",
    "asked",
    "check_name",
    "conclude",
    "document",
    "listing",
    "oldest_unchecked",
    "receive",
    "retire",
    "sources",
    "version_of",
]

CHECKING, ACCEPTED, REFUSED, RETIRED = "checking", "accepted", "refused", "retired"
_FOR_ALL = frozenset({ACCEPTED, RETIRED})
"""States in which a version is shown to other groups."""


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
    known = _same_text(session, model, ACCEPTED)
    if known is not None:
        return known
    row = _next_version(session, model, uploaded_by, now)
    _judge(row, report)
    session.flush()
    return row


def receive(session: Session, model: UserModel, group: str, now: datetime) -> UserModelRow:
    """Store a model that is still to be checked as the next version of its name.

    The text of the newest accepted version, or of one that is being checked, is no new version.
    Needs a write transaction.

    Raises
    ------
    BadModel
        The name is taken by an installed model.
    NameTaken
        The name belongs to another group.
    Busy
        Another model of the group is being checked.
    """
    check_name(model)
    first = session.execute(
        select(UserModelRow)
        .where(col(UserModelRow.name) == model.name)
        .order_by(col(UserModelRow.version))
        .limit(1)
    ).scalar_one_or_none()
    if first is not None and first.uploaded_by != group:
        raise NameTaken(f"the name {model.name!r} is taken by another group")
    known = _same_text(session, model, ACCEPTED) or _same_text(session, model, CHECKING)
    if known is not None:
        return known
    waiting = select(UserModelRow).where(
        col(UserModelRow.uploaded_by) == group, col(UserModelRow.state) == CHECKING
    )
    other = session.execute(waiting.limit(1)).scalar_one_or_none()
    if other is not None:
        raise Busy(f"{other.name}@{other.version} is being checked; one model of a group at a time")
    row = _next_version(session, model, group, now)
    session.flush()
    return row


def oldest_unchecked(session: Session) -> UserModelRow | None:
    """The model that has waited longest for its check."""
    return session.execute(
        select(UserModelRow)
        .where(col(UserModelRow.state) == CHECKING)
        .order_by(col(UserModelRow.added_at), col(UserModelRow.name))
        .limit(1)
    ).scalar_one_or_none()


def conclude(session: Session, name: str, version: int, report: Report) -> UserModelRow:
    """Write down the verdict on a model that was being checked; an earlier verdict stands.

    Raises
    ------
    UnknownRecord
        No such model or version.
    """
    row = _row(session, name, version)
    if row.state == CHECKING:
        _judge(row, report)
    return row


def _same_text(session: Session, model: UserModel, state: str) -> UserModelRow | None:
    """The newest version in ``state``, if it has this very text."""
    newest = session.execute(
        select(UserModelRow)
        .where(col(UserModelRow.name) == model.name, col(UserModelRow.state) == state)
        .order_by(col(UserModelRow.version).desc())
        .limit(1)
    ).scalar_one_or_none()
    return newest if newest is not None and newest.sha256 == model.source.sha256 else None


def _next_version(
    session: Session, model: UserModel, uploaded_by: str, now: datetime
) -> UserModelRow:
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
        state=CHECKING,
    )
    session.add(row)
    return row


def _judge(row: UserModelRow, report: Report) -> None:
    row.state = ACCEPTED if report.accepted else REFUSED
    row.speed = report.speed
    row.report = report.to_json()


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


def listing(session: Session, group: str | None = None) -> list[dict[str, Any]]:
    """All versions of all models, newest last, without text and report.

    With ``group``, what that group may see: its own, and of others what was ever accepted.
    """
    query = select(UserModelRow).order_by(col(UserModelRow.name), col(UserModelRow.version))
    return [_short(row) for row in session.execute(_seen_by(query, group)).scalars()]


def document(session: Session, wanted: str, group: str | None = None) -> dict[str, Any]:
    """One version (the newest, whatever its state, for a bare name) with text and report.

    With ``group``, of what that group may see.

    Raises
    ------
    UnknownRecord
        No such model or version.
    """
    name, version = version_of(wanted)
    query = select(UserModelRow).where(col(UserModelRow.name) == name)
    if version is not None:
        query = query.where(col(UserModelRow.version) == version)
    query = _seen_by(query, group).order_by(col(UserModelRow.version).desc()).limit(1)
    row = session.execute(query).scalar_one_or_none()
    if row is None:
        raise _unknown(name, version)
    return {**_short(row), "report": row.report, "source": row.source}


def _seen_by(query: Any, group: str | None) -> Any:
    if group is None:
        return query
    return query.where(
        or_(col(UserModelRow.uploaded_by) == group, col(UserModelRow.state).in_(_FOR_ALL))
    )


def _row(session: Session, name: str, version: int) -> UserModelRow:
    row = session.get(UserModelRow, (name, version))
    if row is None:
        raise _unknown(name, version)
    return row


def _unknown(name: str, version: int | None) -> UnknownRecord:
    return UnknownRecord(f"no model {name!r}" + (f", version {version}" if version else ""))


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
