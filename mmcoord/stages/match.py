"""Match: candidates against localizations.

A pair is kept when the candidate lies inside ``match.max_credible_level`` and something was
seen of it in the event's window (or nothing is known of its photometry yet). The rule looks
at the pair alone, never at the clock, so that the result does not depend on the order in
which things arrived.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.config import MatchSettings
from mmcoord.records import EventState, Match
from mmcoord.stages import localize
from mmcoord.stages.context import Context
from mmcoord.stages.isolate import bury_work, isolating
from mmcoord.stages.keys import pair_key, split_match_key
from mmcoord.stages.known import redshift_of
from mmcoord.stages.livesky import LiveSky
from mmcoord.stages.policy import reason_to_rest
from mmcoord.store import crossid, journal, queue
from mmcoord.store.crossid import Place
from mmcoord.store.queue import Wish, Work
from mmcoord.store.tables import CandidateRow, DetectionRow, EventRow, LocalizationRow, MatchRow
from mmcoord.store.types import table
from mmcoord.timescales import mjd_tai

__all__ = ["CandidateTable", "MatchStage", "Seen", "decide"]

_BATCH = 2000
_STAGE = "match"
_match: Any = table(MatchRow)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the photometry of one object says about time."""

    first_detection_mjd_tai: float
    in_window: bool
    """Whether any detection falls into the event's window."""


@dataclass(frozen=True, slots=True)
class CandidateTable:
    """Candidates as columns; ``ra_deg``, ``dec_deg`` have the length of ``object_ids``."""

    object_ids: tuple[str, ...]
    ra_deg: npt.NDArray[np.float64]
    dec_deg: npt.NDArray[np.float64]
    is_practice: npt.NDArray[np.bool_]
    distance_mpc: npt.NDArray[np.float64]
    """NaN: not known."""
    distance_err_mpc: npt.NDArray[np.float64]
    """Shape (2, n): error below and above."""

    def take(self, rows: npt.NDArray[np.int64]) -> CandidateTable:
        """Some of the rows, in the order asked for."""
        return CandidateTable(
            tuple(self.object_ids[row] for row in rows),
            self.ra_deg[rows],
            self.dec_deg[rows],
            self.is_practice[rows],
            self.distance_mpc[rows],
            self.distance_err_mpc[:, rows],
        )


def decide(
    event: EventRow,
    localization_id: str,
    prepared: localize.PreparedMap,
    candidates: CandidateTable,
    seen: Mapping[str, Seen],
    settings: MatchSettings,
) -> list[Match]:
    """The matches of ``candidates`` with one localization. Pure.

    A practice candidate never matches a real event. ``seen`` holds the objects that have
    detections; an object that is not in it has none, which rules nothing out.
    """
    allowed = (
        ~candidates.is_practice
        if not event.is_practice
        else np.ones(len(candidates.object_ids), dtype=bool)
    )
    result = localize.cross_match(
        prepared,
        candidates.ra_deg,
        candidates.dec_deg,
        candidates.distance_mpc,
        candidates.distance_err_mpc,
    )
    inside = allowed & (result.credible_level_2d <= settings.max_credible_level)
    t0 = mjd_tai(event.event_time) if event.event_time else None
    matches = []
    for i in np.flatnonzero(inside):
        object_id = candidates.object_ids[i]
        known = seen.get(object_id)
        if known is not None and not known.in_window:
            continue
        offset = known.first_detection_mjd_tai - t0 if known and t0 is not None else None
        matches.append(
            Match(
                event_id=event.event_id,
                localization_id=localization_id,
                object_id=object_id,
                prob_density_sr=float(result.prob_density_sr[i]),
                credible_level_2d=float(result.credible_level_2d[i]),
                prob_density_mpc3=_known(result.prob_density_mpc3[i]),
                credible_level_3d=_known(result.credible_level_3d[i]),
                distance_mean_mpc=_known(result.distance_mean_mpc[i]),
                distance_std_mpc=_known(result.distance_std_mpc[i]),
                time_offset_day=offset,
            )
        )
    return matches


def _known(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


class MatchStage:
    """Serves wishes with a :class:`LiveSky`, which it fills from the store at its first step."""

    def __init__(self) -> None:
        self._sky: LiveSky | None = None

    def run(self, ctx: Context) -> int:
        """Serve one batch of wishes; returns how many were served."""
        with ctx.database.read() as session:
            works = queue.take(session, _STAGE, ctx.now(), _BATCH)
        isolating(
            works,
            lambda some: self._serve(ctx, some),
            lambda work, reason: bury_work(ctx, work, reason),
        )
        return len(works)

    def _serve(self, ctx: Context, works: Sequence[Work]) -> None:
        with ctx.database.read() as session:
            if self._sky is None:
                self._sky = _filled(session, ctx.settings.match.max_credible_level)
            events, looked_at, matches = _search(ctx, session, self._sky, works)
        cause = {work.key: work.cause_id for work in works}
        now = ctx.now()
        with ctx.database.write() as session:
            _store(session, matches, cause, now)
            left = _forget(session, events, looked_at, matches)
            wishes = _wishes(ctx, events, matches, cause)
            wishes += [Wish("plan", event_id, works[0].cause_id) for event_id in sorted(left)]
            queue.enqueue(session, wishes, now)
            queue.finish(session, works)
            journal.write(session, _entries(works, matches, ctx.now()), ctx.now())


def _forget(
    session: Session,
    events: Mapping[str, EventRow],
    looked_at: Mapping[str, set[str] | None],
    matches: Sequence[Match],
) -> set[str]:
    """Remove the matches that no longer hold; returns the events that lost one.

    Late photometry can push an object's first detection out of the window, a revision its
    position out of the map: the end must not depend on what arrived first.
    """
    holding = {(match.event_id, match.object_id) for match in matches}
    whole = [event_id for event_id, objects in looked_at.items() if objects is None]
    known = _matched(session, col(MatchRow.event_id).in_(whole)) if whole else []
    single: set[str] = set().union(*(objects or () for objects in looked_at.values()))
    known += _matched(session, col(MatchRow.object_id).in_(single)) if single else []
    gone: dict[str, set[str]] = defaultdict(set)
    for event_id, localization_id, object_id in known:
        if (
            event_id in looked_at
            and localization_id == events[event_id].localization_id
            and (event_id, object_id) not in holding
        ):
            gone[event_id].add(object_id)
    for event_id, objects_gone in gone.items():
        ordered = sorted(objects_gone)
        for start in range(0, len(ordered), _BATCH):
            session.execute(
                delete(MatchRow).where(
                    col(MatchRow.event_id) == event_id,
                    col(MatchRow.localization_id) == events[event_id].localization_id,
                    col(MatchRow.object_id).in_(ordered[start : start + _BATCH]),
                )
            )
    return set(gone)


def _matched(session: Session, which: ColumnElement[bool]) -> list[Any]:
    """(event, localization, object) of stored matches."""
    columns = (col(MatchRow.event_id), col(MatchRow.localization_id), col(MatchRow.object_id))
    return list(session.execute(select(*columns).where(which)))


def _filled(session: Session, level: float) -> LiveSky:
    """A live sky with every stored candidate."""
    sky = LiveSky(level)
    places = session.execute(
        select(col(CandidateRow.object_id), col(CandidateRow.ra_deg), col(CandidateRow.dec_deg))
    )
    for part in places.partitions(100_000):
        names, ra, dec = zip(*part, strict=True)
        sky.put_candidates(names, np.array(ra), np.array(dec))
    return sky


def _search(
    ctx: Context, session: Session, sky: LiveSky, works: Sequence[Work]
) -> tuple[dict[str, EventRow], dict[str, set[str] | None], list[Match]]:
    """All pairs that the wishes are about: whole events, and single objects.

    Returns the active events, for each of them the objects looked at (None: all), and the
    matches among those.
    """
    wanted: dict[str, set[str]] = {"event": set(), "object": set()}
    for work in works:
        kind, identifier = split_match_key(work.key)
        wanted[kind].add(identifier)
    oldest = _oldest_open(ctx)
    active = _active(session, wanted["event"], oldest)

    def ready(localization_id: str) -> localize.PreparedMap:
        return localize.prepared_within(
            localization_id, lambda: _fits(session, localization_id), sky.level
        )

    open_maps = {e: row.localization_id or "" for e, row in active.items() if _is_open(row, oldest)}
    sky.set_maps(open_maps, ready)
    objects = _candidates(session, sorted(wanted["object"]))
    sky.put_candidates(objects.object_ids, objects.ra_deg, objects.dec_deg)
    inside = sky.maps_at(objects.ra_deg, objects.dec_deg) if objects.object_ids else {}
    matches: list[Match] = []
    looked_at: dict[str, set[str] | None] = {}
    for event_id, event in sorted(active.items()):
        looked_at[event_id] = None if event_id in wanted["event"] else wanted["object"]
        if event_id in wanted["event"]:
            table = _candidates(session, sky.candidates_in(ready(event.localization_id or "")))
        elif event_id in inside:
            table = objects.take(inside[event_id])
        else:
            continue
        seen = _seen(session, event, table.object_ids, ctx.settings.match)
        prepared = ready(event.localization_id or "")
        matches += decide(
            event, event.localization_id or "", prepared, table, seen, ctx.settings.match
        )
    return active, looked_at, matches


def _oldest_open(ctx: Context) -> datetime:
    """Events before this take no more candidates: their window, and the time for what comes
    late, are over. A replay may feed an old night after a newer one and closes none."""
    if ctx.settings.clock == "data":
        return datetime.min.replace(tzinfo=UTC)
    settings = ctx.settings.match
    return ctx.now() - timedelta(days=settings.window_after_day + settings.late_day)


def _is_open(event: EventRow, oldest: datetime) -> bool:
    return event.event_time is None or event.event_time >= oldest


def _active(session: Session, asked: Collection[str], oldest: datetime) -> dict[str, EventRow]:
    """The localized active events that are open, and those that a wish names."""
    rows = session.execute(
        select(EventRow).where(
            col(EventRow.state) == EventState.ACTIVE.value,
            col(EventRow.localization_id).is_not(None),
            col(EventRow.event_time).is_(None)
            | (col(EventRow.event_time) >= oldest)
            | col(EventRow.event_id).in_(sorted(asked)),
        )
    ).scalars()
    return {event.event_id: event for event in rows}


def _fits(session: Session, localization_id: str) -> bytes:
    row = session.get(LocalizationRow, localization_id)
    assert row is not None
    return row.fits


def _candidates(session: Session, object_ids: Sequence[str]) -> CandidateTable:
    rows: list[Any] = []
    for start in range(0, len(object_ids), _BATCH):
        rows += session.execute(
            select(
                col(CandidateRow.object_id),
                col(CandidateRow.ra_deg),
                col(CandidateRow.dec_deg),
                col(CandidateRow.is_practice),
                col(CandidateRow.redshift),
                col(CandidateRow.redshift_err),
                col(CandidateRow.attributes),
            ).where(col(CandidateRow.object_id).in_(object_ids[start : start + _BATCH]))
        ).all()
    rows.sort(key=lambda row: row[0])
    redshifts = _redshifts(session, rows)
    distance, below, above = localize.distances(
        [z for z, _ in redshifts], [error for _, error in redshifts], [row[6] for row in rows]
    )
    return CandidateTable(
        object_ids=tuple(row[0] for row in rows),
        ra_deg=np.array([row[1] for row in rows], dtype=np.float64),
        dec_deg=np.array([row[2] for row in rows], dtype=np.float64),
        is_practice=np.array([row[3] for row in rows], dtype=bool),
        distance_mpc=distance,
        distance_err_mpc=np.stack([below, above]),
    )


def _redshifts(session: Session, rows: Sequence[Any]) -> list[tuple[float | None, float | None]]:
    """Each candidate's redshift, else that of the catalogue entry which it is."""
    lacking = [Place(row[0], row[1], row[2]) for row in rows if row[4] is None]
    known = crossid.known_as(session, lacking)
    return [
        (redshift_of(known.get(row[0], ())) or (None, None)) if row[4] is None else (row[4], row[5])
        for row in rows
    ]


def _seen(
    session: Session, event: EventRow, object_ids: Sequence[str], settings: MatchSettings
) -> dict[str, Seen]:
    first = _first_detections(session, object_ids)
    if event.event_time is None:
        return {object_id: Seen(mjd, True) for object_id, mjd in first.items()}
    t0 = mjd_tai(event.event_time)
    window = (t0 - settings.window_before_day, t0 + settings.window_after_day)
    inside = _first_detections(session, object_ids, window)
    return {object_id: Seen(mjd, object_id in inside) for object_id, mjd in first.items()}


def _first_detections(
    session: Session, object_ids: Sequence[str], window: tuple[float, float] | None = None
) -> dict[str, float]:
    """Time of the first detection (within ``window``) of each object that has one."""
    found: dict[str, float] = {}
    for start in range(0, len(object_ids), _BATCH):
        query = (
            select(col(DetectionRow.object_id), func.min(col(DetectionRow.obs_mjd_tai)))
            .where(
                col(DetectionRow.is_limit).is_(False),
                col(DetectionRow.is_current),
                col(DetectionRow.object_id).in_(object_ids[start : start + _BATCH]),
            )
            .group_by(col(DetectionRow.object_id))
        )
        if window is not None:
            query = query.where(col(DetectionRow.obs_mjd_tai).between(*window))
        found.update((name, mjd) for name, mjd in session.execute(query))
    return found


def _store(
    session: Session, matches: Sequence[Match], cause: Mapping[str, str], now: datetime
) -> None:
    rows = [
        {
            "event_id": m.event_id,
            "localization_id": m.localization_id,
            "object_id": m.object_id,
            "prob_density_sr": m.prob_density_sr,
            "credible_level_2d": m.credible_level_2d,
            "prob_density_mpc3": m.prob_density_mpc3,
            "credible_level_3d": m.credible_level_3d,
            "distance_mean_mpc": m.distance_mean_mpc,
            "distance_std_mpc": m.distance_std_mpc,
            "time_offset_day": m.time_offset_day,
            "matched_at": now,
            "cause_id": _cause_of(m, cause),
        }
        for m in matches
    ]
    if not rows:
        return
    keys = ("event_id", "localization_id", "object_id")
    statement = queue.insert_for(session, _match)
    statement = statement.on_conflict_do_update(
        index_elements=keys, set_={n: statement.excluded[n] for n in rows[0] if n not in keys}
    )
    session.execute(statement, rows)


def _cause_of(match: Match, cause: Mapping[str, str]) -> str:
    return cause.get(f"event:{match.event_id}") or cause.get(f"object:{match.object_id}", "")


def _wishes(
    ctx: Context,
    events: Mapping[str, EventRow],
    matches: Sequence[Match],
    cause: Mapping[str, str],
) -> list[Wish]:
    wishes = []
    touched: dict[str, str] = {}
    for m in matches:
        if reason_to_rest(ctx.settings, events[m.event_id]) is not None:
            continue
        touched[m.event_id] = _cause_of(m, cause)
        wishes.append(
            Wish(
                "infer",
                pair_key(m.event_id, m.object_id),
                _cause_of(m, cause),
                delay_s=ctx.settings.infer.debounce_s,
            )
        )
    wishes += [
        Wish("plan", event_id, why, delay_s=ctx.settings.plan.debounce_s)
        for event_id, why in touched.items()
    ]
    return wishes


def _entries(
    works: Sequence[Work], matches: Sequence[Match], done: datetime
) -> list[journal.Entry]:
    per_event: dict[str, int] = defaultdict(int)
    for match in matches:
        per_event[match.event_id] += 1
    waited = max((done - work.enqueued_at).total_seconds() for work in works)
    return [
        journal.Entry(
            _STAGE,
            "matched",
            f"{number} of {len(works)} newly looked-at candidates or events match",
            works[0].cause_id,
            event_id=event_id,
            latency_s=max(waited, 0.0),
        )
        for event_id, number in sorted(per_event.items())
    ]
