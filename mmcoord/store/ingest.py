"""Bulk writing of what listeners read.

One cached statement of SQLAlchemy Core with many parameter sets: a statement of many VALUES
spends five times as long in being compiled as in the database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from mmcoord.names import spelled
from mmcoord.records import (
    Candidate,
    Circular,
    KnownTransient,
    ParsedRecord,
    Photometry,
    Vetoed,
)
from mmcoord.store.crossid import name_keys
from mmcoord.store.naming import teach
from mmcoord.store.queue import insert_for
from mmcoord.store.tables import (
    AlertNoticeRow,
    AlertRow,
    CandidateRow,
    CircularNameRow,
    CircularRow,
    CounterRow,
    DetectionRow,
    KnownNameRow,
    KnownTransientRow,
)
from mmcoord.store.types import table
from skymaps.healpix import order29_index

__all__ = [
    "count_vetoes",
    "note_alert_notice",
    "point_key",
    "store_candidates",
    "store_circulars",
    "store_known_transients",
    "store_photometry",
]

_alert_notice: Any = table(AlertNoticeRow)
_candidate: Any = table(CandidateRow)
_counter: Any = table(CounterRow)
_detection: Any = table(DetectionRow)
_known: Any = table(KnownTransientRow)
_mention: Any = table(CircularNameRow)
_known_name: Any = table(KnownNameRow)


def point_key(point: Photometry) -> str:
    """Identity of a point within its object: the same measurement twice is one row."""
    error = "limit" if point.mag_err is None else f"{point.mag_err:.4f}"
    return f"{point.band}|{point.obs_mjd_tai:.6f}|{point.mag_ab:.4f}|{error}"


def store_candidates(
    session: Session, records: Sequence[tuple[ParsedRecord, int]], now: datetime
) -> None:
    """Insert or update the candidates among ``records`` (record, notice id).

    The newest notice wins, so that redelivery of an older one changes nothing.
    """
    newest = {r.object_id: (r, notice_id) for r, notice_id in records if isinstance(r, Candidate)}
    if not newest:
        return
    found = list(newest.values())
    hpx29 = _hpx29([r for r, _ in found])
    rows = [
        {
            "object_id": r.object_id,
            "source": r.source,
            "ra_deg": r.ra_deg,
            "dec_deg": r.dec_deg,
            "hpx29": int(pixel),
            "position_error_arcsec": r.position_error_arcsec,
            "redshift": r.redshift,
            "redshift_err": r.redshift_err,
            "ebv_mw": r.ebv_mw,
            "is_practice": r.is_practice,
            "attributes": dict(r.attributes),
            "notice_id": notice_id,
            "received_at": now,
        }
        for (r, notice_id), pixel in zip(found, hpx29, strict=True)
    ]
    statement = insert_for(session, _candidate)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["object_id"],
        set_={name: new[name] for name in rows[0] if name != "object_id"},
        where=new.notice_id >= _candidate.c.notice_id,
    )
    session.execute(statement, rows)


def store_photometry(
    session: Session, records: Sequence[tuple[ParsedRecord, int]], now: datetime
) -> None:
    """Insert the photometric points among ``records``; a known point is left alone."""
    rows = [
        {
            "object_id": r.object_id,
            "point_key": point_key(r),
            "obs_mjd_tai": r.obs_mjd_tai,
            "band": r.band,
            "mag_ab": r.mag_ab,
            "mag_err": r.mag_err,
            "is_limit": r.is_limit,
            "is_current": True,
            "notice_id": notice_id,
            "received_at": now,
        }
        for r, notice_id in records
        if isinstance(r, Photometry)
    ]
    if rows:
        session.execute(insert_for(session, _detection).on_conflict_do_nothing(), rows)


def store_known_transients(
    session: Session, records: Sequence[tuple[ParsedRecord, int]], now: datetime
) -> None:
    """Insert or update catalogue entries; the one that its catalogue changed last stands."""
    found: dict[tuple[str, str], tuple[KnownTransient, int]] = {}
    for record, notice_id in records:
        if isinstance(record, KnownTransient):
            key = (record.catalogue, record.identifier)
            if key not in found or not _is_older(record, found[key][0]):
                found[key] = (record, notice_id)
    if not found:
        return
    rows = [
        {
            "catalogue": r.catalogue,
            "identifier": r.identifier,
            "name": r.name,
            "ra_deg": r.ra_deg,
            "dec_deg": r.dec_deg,
            "hpx29": int(pixel),
            "names": list(r.names),
            "classification": r.classification,
            "redshift": r.redshift,
            "redshift_err": r.redshift_err,
            "discovered_mjd_tai": r.discovered_mjd_tai,
            "host": r.host,
            "modified_at": r.modified_at,
            "attributes": dict(r.attributes),
            "notice_id": notice_id,
            "received_at": now,
        }
        for (r, notice_id), pixel in zip(
            found.values(), _hpx29([r for r, _ in found.values()]), strict=True
        )
    ]
    keys = ("catalogue", "identifier")
    statement = insert_for(session, _known)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=keys,
        set_={name: new[name] for name in rows[0] if name not in keys},
        where=_known.c.modified_at.is_(None) | (new.modified_at >= _known.c.modified_at),
    )
    session.execute(statement, rows)
    _store_known_names(session, [r for r, _ in found.values()])


def _store_known_names(session: Session, records: Sequence[KnownTransient]) -> None:
    """All names that an entry ever had; a name is not forgotten when it is replaced."""
    rows = [
        {"key": key, "catalogue": r.catalogue, "identifier": r.identifier}
        for r in records
        for key in sorted(name_keys(r.name, *r.names))
    ]
    if rows:
        session.execute(insert_for(session, _known_name).on_conflict_do_nothing(), rows)


def _is_older(one: KnownTransient, other: KnownTransient) -> bool:
    return (
        one.modified_at is not None
        and other.modified_at is not None
        and one.modified_at < other.modified_at
    )


def store_circulars(
    session: Session, records: Sequence[tuple[ParsedRecord, int]], now: datetime
) -> None:
    """Insert circulars, or replace an older version of the same one, with the names they use.

    Of two texts under one number and version the later edited stands, and of two that even
    agree in this the greater: which one came first does not matter.
    """
    touched: set[str] = set()
    for circular, notice_id in records:
        if not isinstance(circular, Circular):
            continue
        known = session.get(CircularRow, circular.circular_id)
        if known is not None and _standing(circular) <= _standing(known):
            continue
        values: dict[str, Any] = {
            "version": circular.version,
            "subject": circular.subject,
            "body": circular.body,
            "submitter": circular.submitter,
            "event_names": list(circular.event_names),
            "synonyms": [list(group) for group in circular.synonyms],
            "created_at": circular.created_at,
            "edited_at": circular.edited_at,
            "notice_id": notice_id,
            "received_at": now,
        }
        if known is None:
            session.add(CircularRow(circular_id=circular.circular_id, **values))
        else:
            touched |= set(spelled(known.event_names))
            for name, value in values.items():
                setattr(known, name, value)
        session.flush()
        touched |= _store_mentions(session, circular)
    teach(session, touched)


def _standing(circular: Circular | CircularRow) -> tuple[Any, ...]:
    edited = circular.edited_at or circular.created_at
    return (circular.version, edited, circular.subject, circular.body, circular.submitter)


def _store_mentions(session: Session, circular: Circular) -> set[str]:
    keys = set(spelled(circular.event_names))
    session.execute(delete(_mention).where(_mention.c.circular_id == circular.circular_id))
    if keys:
        session.execute(
            insert(_mention),
            [{"key": key, "circular_id": circular.circular_id} for key in sorted(keys)],
        )
    return keys


def note_alert_notice(session: Session, alert: AlertRow, notice_id: int) -> None:
    """Write down that this notice says this alert, first or again."""
    statement = insert_for(session, _alert_notice).values(alert_id=alert.id, notice_id=notice_id)
    session.execute(statement.on_conflict_do_nothing())


def count_vetoes(session: Session, vetoed: Sequence[Vetoed]) -> None:
    """Add to the counters of the rules that left something out."""
    for (source, veto), number in sorted(Counter((v.source, v.veto) for v in vetoed).items()):
        statement = insert_for(session, _counter).values(
            source=source, name=f"veto {veto}", n=number
        )
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["source", "name"], set_={"n": _counter.c.n + number}
            )
        )


def _hpx29(found: Sequence[Candidate | KnownTransient]) -> Any:
    return order29_index([r.ra_deg for r in found], [r.dec_deg for r in found])
