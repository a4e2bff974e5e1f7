"""Claims in the store: said, expired, and read back.

Whatever changes a claim asks for the event's plan to be made anew, in the same transaction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from followup.claims import (
    STANDING,
    Claim,
    ClaimState,
    ClaimTimes,
    SkipReason,
    Verb,
    next_state,
)
from mmcoord.errors import Refused, UnknownRecord
from mmcoord.records import PlanTile, Undertaking
from mmcoord.store import finding, journal, queue
from mmcoord.store.queue import Wish
from mmcoord.store.tables import EventRow, MatchRow, RequestRow
from mmcoord.store.tables_claims import ClaimActionRow, ClaimRow
from mmcoord.store.tiles import asked_before

__all__ = [
    "Act",
    "act",
    "claims_of",
    "expire",
    "is_known",
    "newest",
    "of_event",
    "others",
    "undertakings",
]

_STAGE = "claims"
"""Somebody stands at a telescope: their word goes before the plans of new photometry."""
_EXPIRE_BATCH = 100


@dataclass(frozen=True, slots=True)
class Act:
    """Something that an observer says of a target."""

    verb: Verb
    event: str
    """Any name of the event."""
    object_id: str
    group: str
    via: str
    instrument: str | None = None
    band: str | None = None
    hours: float | None = None
    """How long a claim shall stand; None: as usual."""
    reason: SkipReason | None = None
    """Why it is declined."""
    note: str = ""
    key: str | None = None
    """Idempotency key; without one a repeat is another act."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what is asked."""
        said = [self.verb, self.event, self.object_id, self.group, self.instrument, self.band]
        text = json.dumps([*said, self.hours, self.reason, self.note])
        return hashlib.sha256(text.encode()).hexdigest()


def act(session: Session, said: Act, now: datetime, times: ClaimTimes | None = None) -> ClaimRow:
    """Do what is said, once for each idempotency key; the claim as it then stands.

    Raises
    ------
    UnknownRecord
        No such event, or the object is no candidate of it.
    Refused
        It cannot be said now (a start of nothing that is open, a claim under way), the event
        is retracted, or the key came with something else before.
    """
    known = _said_before(session, said)
    if known is not None:
        return known
    event_id, tile = _known_of(session, said)
    standing = session.execute(
        select(ClaimRow)
        .where(
            col(ClaimRow.event_id) == event_id,
            col(ClaimRow.object_id) == said.object_id,
            col(ClaimRow.group) == said.group,
            col(ClaimRow.state).in_([state.value for state in STANDING]),
        )
        .with_for_update()
    ).scalar_one_or_none()
    if standing is not None and standing.expires_at is not None and standing.expires_at <= now:
        _close(session, standing, ClaimState.EXPIRED, now)
        standing = None
    before = ClaimState(standing.state) if standing else None
    state = next_state(before, said.verb)
    if state is None:
        stands = f"is {before.value} by {said.group}" if before else "has no claim of the group's"
        raise Refused(f"cannot {said.verb.value}: {said.object_id} {stands}")
    row = standing or _new_row(session, said, event_id, tile, now)
    _change(row, said, state, now, times or ClaimTimes())
    session.flush()  # for the new row's id
    assert row.id is not None
    session.add(
        ClaimActionRow(
            claim_id=row.id,
            group=said.group,
            key=said.key,
            fingerprint=said.fingerprint,
            verb=said.verb.value,
            via=said.via,
            at=now,
        )
    )
    _tell(session, row, said.verb.value, now)
    return row


def expire(session: Session, now: datetime) -> int:
    """End the claims whose time is over; returns how many."""
    due = session.execute(
        select(ClaimRow)
        .where(
            col(ClaimRow.state).in_([state.value for state in STANDING]),
            col(ClaimRow.expires_at) <= now,
        )
        .limit(_EXPIRE_BATCH)
    ).scalars()
    number = 0
    for row in due:
        _close(session, row, ClaimState.EXPIRED, now)
        number += 1
    return number


def claims_of(session: Session, event_id: str) -> dict[str, tuple[Claim, ...]]:
    """Claims by target, for the ranking; of each group the last one."""
    return {
        object_id: tuple(_record(row) for row in rows)
        for object_id, rows in newest(session, event_id).items()
    }


def of_event(session: Session, event_id: str) -> list[ClaimRow]:
    """All claims on an event's targets, the oldest first."""
    query = select(ClaimRow).where(col(ClaimRow.event_id) == event_id).order_by(col(ClaimRow.id))
    return list(session.execute(query).scalars())


def undertakings(
    session: Session, event_id: str, wanted: Collection[str]
) -> tuple[Undertaking, ...]:
    """What groups have said of these targets and tiles, for the sinks that tell it."""
    return tuple(
        Undertaking(row.object_id, row.group, row.state, row.changed_at, row.instrument, row.band)
        for object_id, found in newest(session, event_id).items()
        if object_id in wanted
        for row in found
    )


def is_known(session: Session, said: Act) -> bool:
    """Whether this act came before, under its key."""
    return _said_before(session, said) is not None


def newest(session: Session, event_id: str) -> dict[str, list[ClaimRow]]:
    """By target, the last claim of each group."""
    last = {(row.object_id, row.group): row for row in of_event(session, event_id)}
    by_target: dict[str, list[ClaimRow]] = {}
    for (object_id, _), row in sorted(last.items()):
        by_target.setdefault(object_id, []).append(row)
    return by_target


def others(session: Session, claim: ClaimRow) -> list[ClaimRow]:
    """What other groups have standing or done on the same target."""
    states = [ClaimState.COMPLETED.value, *(state.value for state in STANDING)]
    return [
        row
        for row in of_event(session, claim.event_id)
        if row.object_id == claim.object_id and row.group != claim.group and row.state in states
    ]


def _said_before(session: Session, said: Act) -> ClaimRow | None:
    if said.key is None:
        return None
    action = session.execute(
        select(ClaimActionRow).where(
            col(ClaimActionRow.group) == said.group, col(ClaimActionRow.key) == said.key
        )
    ).scalar_one_or_none()
    if action is None:
        return None
    if action.fingerprint != said.fingerprint:
        raise Refused(f"the key {said.key!r} came with another request before")
    return session.get(ClaimRow, action.claim_id)


def _known_of(session: Session, said: Act) -> tuple[str, PlanTile | None]:
    """The event's identifier, when the object is something that it could be about, and the tile
    where it is one."""
    event_id = finding.one(session, said.event)
    event = session.get(EventRow, event_id)
    assert event is not None
    tile = next(iter(asked_before(session, event_id, [said.object_id])), None)
    for table in (RequestRow, MatchRow):
        known = session.execute(
            select(col(table.object_id))
            .where(col(table.event_id) == event_id, col(table.object_id) == said.object_id)
            .limit(1)
        ).scalar_one_or_none()
        if known is not None:
            break
    else:
        if tile is None:
            raise UnknownRecord(f"{said.object_id!r} is no candidate of event {event_id}")
    if event.state == "retracted" and said.verb in (Verb.CLAIM, Verb.START):
        raise Refused(f"event {event_id} is retracted: do not observe for it")
    return event_id, tile


def _new_row(
    session: Session, said: Act, event_id: str, tile: PlanTile | None, now: datetime
) -> ClaimRow:
    row = ClaimRow(
        event_id=event_id,
        object_id=said.object_id,
        group=said.group,
        state="",
        via=said.via,
        # A tile is a field of one camera.
        instrument=tile.instrument if tile else None,
        band=tile.band if tile else None,
        created_at=now,
        changed_at=now,
    )
    session.add(row)
    return row


def _change(row: ClaimRow, said: Act, state: ClaimState, now: datetime, times: ClaimTimes) -> None:
    row.state = state.value
    row.via = said.via
    row.instrument = said.instrument or row.instrument
    row.band = said.band or row.band
    row.note = said.note or row.note
    row.changed_at = now
    row.expires_at = None
    if state in STANDING:
        row.expires_at = now + timedelta(hours=times.hours(state, said.hours))
    if state is ClaimState.DECLINED:
        row.reason = (said.reason or SkipReason.OTHER).value


def _close(session: Session, row: ClaimRow, state: ClaimState, now: datetime) -> None:
    row.state, row.changed_at = state.value, now
    _tell(session, row, state.value, now)


_PAST: Mapping[str, str] = {
    Verb.CLAIM: "claimed",
    Verb.START: "started",
    Verb.COMPLETE: "completed",
    Verb.RELEASE: "released",
    Verb.DECLINE: "declined",
}


def _tell(session: Session, row: ClaimRow, what: str, now: datetime) -> None:
    """Journal the change and ask for a new plan."""
    cause = f"claim-{row.id}"
    done = _PAST.get(what, what)
    why = f" ({row.reason})" if row.state == ClaimState.DECLINED.value else ""
    text = f"{row.object_id} {done} by {row.group} via {row.via}{why}"
    journal.write(
        session,
        [journal.Entry(_STAGE, done, text, cause, event_id=row.event_id, object_id=row.object_id)],
        now,
    )
    queue.enqueue(session, [Wish("plan", row.event_id, cause, priority=queue.URGENT)], now)


def _record(row: ClaimRow) -> Claim:
    return Claim(
        object_id=row.object_id,
        group=row.group,
        state=ClaimState(row.state),
        changed_at=row.changed_at,
        expires_at=row.expires_at,
        instrument=row.instrument,
        band=row.band,
        reason=SkipReason(row.reason) if row.reason else None,
    )
