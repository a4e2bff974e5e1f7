"""Reading one notice: its bytes into records, its maps into localizations. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from listeners.base import Source
from listeners.vetoes import Vetoes
from mmcoord.errors import BadInput
from mmcoord.records import (
    Alert,
    ErrorRegion,
    LateMap,
    ParsedRecord,
)
from mmcoord.stages import localize
from mmcoord.store.tables import (
    NoticeRow,
)

__all__ = ["Readout", "read"]

_NO_SETTINGS = Vetoes()
_MAX_MAP_BYTES = 128 * 2**20
"""What a map inside a notice may inflate to: a flat one of nside 1024 fits, and a bomb of
4 MiB costs a fraction of a second. Maps behind links and files may be larger."""


@dataclass(frozen=True, slots=True)
class Readout:
    """What one payload turned into. ``error`` does not exclude ``records``: an alert whose
    map is broken is kept without a map, and its notice goes to the dead letters."""

    notice_id: int
    cause_id: str
    sent_at: datetime | None
    received_at: datetime
    records: tuple[ParsedRecord, ...] = ()
    localization: localize.Localization | None = None
    localized_by: str | None = None
    """``map``, ``link`` or ``region``: what the localization was made of."""
    combined: localize.Localization | None = None
    error: str | None = None


def read(row: NoticeRow, sources: Mapping[str, Source], vetoes: Vetoes = _NO_SETTINGS) -> Readout:
    """Parse one notice and load its maps. Never raises: what cannot be read says why."""
    assert row.id is not None
    base = Readout(row.id, f"notice:{row.id}", row.sent_at, row.received_at)
    source = sources.get(row.source)
    if source is None:
        return replace(base, error=f"no listener named {row.source!r} is installed")
    try:
        return _read(row, source, vetoes, base)
    except BadInput as error:
        return replace(base, error=str(error))
    except Exception as error:
        # A parser's own fault must not stop the stream: the one place that catches all.
        return replace(
            base, error=f"fault in listener {row.source!r}: {type(error).__name__}: {error}"
        )


def _read(row: NoticeRow, source: Source, vetoes: Vetoes, base: Readout) -> Readout:
    records = tuple(source.read(row.payload, vetoes))
    late = next((record for record in records if isinstance(record, LateMap)), None)
    if late is not None:
        return replace(
            base,
            records=(late,),
            localization=localize.load(late.fits, where=f"map of {late.event_id}"),
            localized_by="link",
        )
    alerts = [record for record in records if isinstance(record, Alert)]
    if not alerts:
        return replace(base, records=records)
    alert = alerts[0]
    external = alert.external.skymap_fits if alert.external else None
    errors: list[str] = []
    if len(alerts) > 1:
        errors.append(f"holds {len(alerts)} alerts; the first was kept, one a notice is expected")
    place = _load(alert.skymap_fits, "skymap", errors)
    localized_by = "map" if place is not None else None
    if place is None and alert.region is not None:
        place = _circle(alert.region, errors)
        localized_by = "region" if place is not None else None
    return replace(
        base,
        records=(alert, *(r for r in records if not isinstance(r, Alert))),
        localization=place,
        localized_by=localized_by,
        combined=_load(external, "combined skymap", errors),
        error="; ".join(errors) or None,
    )


def _load(fits: bytes | None, where: str, errors: list[str]) -> localize.Localization | None:
    try:
        if fits is None:
            return None
        return localize.load(fits, where=where, max_bytes=_MAX_MAP_BYTES)
    except BadInput as error:
        errors.append(str(error))
        return None


def _circle(region: ErrorRegion, errors: list[str]) -> localize.Localization | None:
    try:
        return localize.from_region(region)
    except BadInput as error:
        errors.append(str(error))
        return None
