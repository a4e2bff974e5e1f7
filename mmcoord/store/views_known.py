"""What the page and the API say of an object's entries in catalogues of transients."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from mmcoord.store.crossid import KnownAs, Place, known_as, objects_named
from mmcoord.store.tables import CandidateRow

__all__ = ["KnownLine", "known_lines", "object_called"]

_TNS_NAME = re.compile(r"(?:[A-Z]{2,4} )?(\d{4}[A-Za-z]{1,6})")


@dataclass(frozen=True, slots=True)
class KnownLine:
    """One entry that is the object, by name or by place."""

    catalogue: str
    identifier: str
    name: str
    names: tuple[str, ...]
    ra_deg: float
    dec_deg: float
    separation_arcsec: float
    by_name: bool
    """Whether the entry names the object; else it only lies on it."""
    classification: str | None
    redshift: float | None
    redshift_err: float | None
    discovered_mjd_tai: float | None
    modified_at: datetime | None
    url: str | None
    """The entry's own page, where its address follows from its name."""


def known_lines(session: Session, object_id: str, ra_deg: float, dec_deg: float) -> list[KnownLine]:
    """The entries of one object, the surest identity first."""
    found = known_as(session, [Place(object_id, ra_deg, dec_deg)])
    return [_line(one) for one in found.get(object_id, ())]


def object_called(session: Session, name: str) -> str | None:
    """The candidate with this identifier, else one that a catalogue knows by this name."""
    if session.get(CandidateRow, name) is not None:
        return name
    return next(iter(objects_named(session, name)), None)


def _line(one: KnownAs) -> KnownLine:
    entry = one.entry
    bare = _TNS_NAME.fullmatch(entry.name) if entry.catalogue == "tns" else None
    return KnownLine(
        catalogue=entry.catalogue,
        identifier=entry.identifier,
        name=entry.name,
        names=entry.names,
        ra_deg=entry.ra_deg,
        dec_deg=entry.dec_deg,
        separation_arcsec=one.separation_arcsec,
        by_name=one.by_name,
        classification=entry.classification,
        redshift=entry.redshift,
        redshift_err=entry.redshift_err,
        discovered_mjd_tai=entry.discovered_mjd_tai,
        modified_at=entry.modified_at,
        url=f"https://www.wis-tns.org/object/{bare.group(1)}" if bare else None,
    )
