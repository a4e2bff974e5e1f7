"""Bulk writing of what listeners read (SQLAlchemy Core, one statement a batch)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import healpy
import numpy as np
from sqlalchemy.orm import Session

from mmcoord.records import (
    Candidate,
    Circular,
    KnownTransient,
    ParsedRecord,
    Photometry,
    Vetoed,
)
from mmcoord.store.crossid import name_keys
from mmcoord.store.queue import insert_for
from mmcoord.store.tables import (
    CandidateRow,
    CircularRow,
    CounterRow,
    DetectionRow,
    KnownNameRow,
    KnownTransientRow,
)
from mmcoord.store.types import table

__all__ = [
    "count_vetoes",
    "point_key",
    "store_candidates",
    "store_circulars",
    "store_known_transients",
    "store_photometry",
]

_candidate: Any = table(CandidateRow)
_circular: Any = table(CircularRow)
_counter: Any = table(CounterRow)
_detection: Any = table(DetectionRow)
_known: Any = table(KnownTransientRow)
_known_name: Any = table(KnownNameRow)
_NSIDE_29 = 2**29
_ROWS = 1000
"""Rows a statement: PostgreSQL takes 65,535 parameters, SQLite 32,766."""


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
    for start in range(0, len(rows), _ROWS):
        statement = insert_for(session, _candidate).values(rows[start : start + _ROWS])
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["object_id"],
                set_={name: statement.excluded[name] for name in rows[0] if name != "object_id"},
                where=statement.excluded.notice_id >= _candidate.c.notice_id,
            )
        )


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
            "notice_id": notice_id,
            "received_at": now,
        }
        for r, notice_id in records
        if isinstance(r, Photometry)
    ]
    for start in range(0, len(rows), _ROWS):
        statement = insert_for(session, _detection).values(rows[start : start + _ROWS])
        session.execute(statement.on_conflict_do_nothing())


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
    for start in range(0, len(rows), _ROWS):
        statement = insert_for(session, _known).values(rows[start : start + _ROWS])
        new = statement.excluded
        session.execute(
            statement.on_conflict_do_update(
                index_elements=keys,
                set_={name: new[name] for name in rows[0] if name not in keys},
                where=_known.c.modified_at.is_(None) | (new.modified_at >= _known.c.modified_at),
            )
        )
    _store_known_names(session, [r for r, _ in found.values()])


def _store_known_names(session: Session, records: Sequence[KnownTransient]) -> None:
    """All names that an entry ever had; a name is not forgotten when it is replaced."""
    rows = [
        {"key": key, "catalogue": r.catalogue, "identifier": r.identifier}
        for r in records
        for key in sorted(name_keys(r.name, *r.names))
    ]
    for start in range(0, len(rows), _ROWS):
        statement = insert_for(session, _known_name).values(rows[start : start + _ROWS])
        session.execute(statement.on_conflict_do_nothing())


def _is_older(one: KnownTransient, other: KnownTransient) -> bool:
    return (
        one.modified_at is not None
        and other.modified_at is not None
        and one.modified_at < other.modified_at
    )


def store_circulars(
    session: Session, records: Sequence[tuple[ParsedRecord, int]], now: datetime
) -> None:
    """Insert circulars, or replace an older version of the same one."""
    newest: dict[int, tuple[Circular, int]] = {}
    for record, notice_id in records:
        if isinstance(record, Circular):
            known = newest.get(record.circular_id)
            if known is None or record.version >= known[0].version:
                newest[record.circular_id] = (record, notice_id)
    for circular, notice_id in newest.values():
        values = {
            "version": circular.version,
            "subject": circular.subject,
            "body": circular.body,
            "submitter": circular.submitter,
            "event_names": list(circular.event_names),
            "created_at": circular.created_at,
            "edited_at": circular.edited_at,
            "notice_id": notice_id,
            "received_at": now,
        }
        statement = insert_for(session, _circular).values(
            circular_id=circular.circular_id, **values
        )
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["circular_id"],
                set_=values,
                where=_circular.c.version < circular.version,
            )
        )


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
    return healpy.ang2pix(
        _NSIDE_29,
        np.array([r.ra_deg for r in found]),
        np.array([r.dec_deg for r in found]),
        nest=True,
        lonlat=True,
    )
