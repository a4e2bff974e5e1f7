"""Bulk writing of candidates and photometry (SQLAlchemy Core, one statement a batch)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import healpy
import numpy as np
from sqlalchemy.orm import Session

from mmcoord.records import Candidate, ParsedRecord, Photometry
from mmcoord.store.queue import insert_for
from mmcoord.store.tables import CandidateRow, DetectionRow
from mmcoord.store.types import table

__all__ = ["point_key", "store_candidates", "store_photometry"]

_candidate: Any = table(CandidateRow)
_detection: Any = table(DetectionRow)
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
    hpx29 = healpy.ang2pix(
        _NSIDE_29,
        np.array([r.ra_deg for r, _ in found]),
        np.array([r.dec_deg for r, _ in found]),
        nest=True,
        lonlat=True,
    )
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
