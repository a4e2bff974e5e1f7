"""Files of an event for other programs: tables, the map and its regions, a calendar."""

from __future__ import annotations

import io
import json
import re
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import Response
from sqlalchemy.orm import Session

import skymaps
from mmcoord.api.service import ServiceDep
from mmcoord.errors import UnknownRecord
from mmcoord.store import finding, views, views_candidates, views_log
from mmcoord.store.tables import LocalizationRow
from mmcoord.store.tiles import tiles_of
from mmcoord.store.views import EventLine, PlanLine, Target
from mmcoord.web.calendar import calendar
from mmcoord.web.export_tables import (
    Rows,
    candidate_rows,
    photometry_rows,
    plan_rows,
    tile_rows,
    to_csv,
    to_json,
    to_votable,
)
from mmcoord.web.localtime import instruments
from skymaps.regions import region_moc, region_moc_json

__all__ = ["HAS_MOC", "router"]

router = APIRouter(prefix="/export", include_in_schema=False)

Format = Literal["csv", "vot", "json"]
Name = Annotated[str, Query(alias="event", max_length=300)]
Level = Annotated[float, Query(gt=0.0, lt=1.0, allow_inf_nan=False)]
_MOST = 200_000
_TYPES = {"csv": "text/csv; charset=utf-8", "vot": "application/x-votable+xml",
          "json": "application/json"}  # fmt: skip
HAS_MOC = find_spec("mocpy") is not None
"""Whether regions can be written as FITS (the extra ``moc``)."""


@router.get("/candidates.{kind}")
def candidates(service: ServiceDep, kind: Format, name: Name) -> Response:
    """Every candidate that the event's present map holds, by rank and credible level."""
    with service.read() as session:
        line = _event(session, name)
        found = views_candidates.candidates(session, line, _MOST)
    return _table(candidate_rows(found), kind, line, "candidates", {})


@router.get("/plan.{kind}")
def plan(service: ServiceDep, kind: Format, name: Name) -> Response:
    """The newest revision of the plan."""
    with service.read() as session:
        line, found, targets = _plan(session, name)
    about = {"revision": found.revision, "planned_for": found.planned_for.isoformat()}
    return _table(plan_rows(targets), kind, line, f"plan-{found.revision}", about)


@router.get("/tiles.{kind}")
def tiles(service: ServiceDep, kind: Format, name: Name) -> Response:
    """The fields of wide cameras in the newest plan."""
    with service.read() as session:
        line, found, _ = _plan(session, name)
        fields = tiles_of(session, line.event_id, found.revision)
    about = {"revision": found.revision, "planned_for": found.planned_for.isoformat()}
    return _table(tile_rows(fields), kind, line, f"tiles-{found.revision}", about)


@router.get("/photometry.csv")
def photometry(
    service: ServiceDep, name: Annotated[str, Query(alias="object", max_length=300)]
) -> Response:
    """The light curve of an object as ``mmcoord fit`` reads it; a limit has no error."""
    with service.read() as session:
        line = views_log.object_line(session, name)
        points = views_log.photometry(session, name, _MOST)
    if line is None and not points:
        raise UnknownRecord(f"object {name!r} is not known")
    is_practice = line is not None and line.is_practice
    return _named(to_csv(photometry_rows(points)), _TYPES["csv"], name, is_practice, "light.csv")


@router.get("/windows.ics")
def windows(service: ServiceDep, name: Name) -> Response:
    """When which target and which tiles are to be observed, as a calendar."""
    with service.read() as session:
        line, found, targets = _plan(session, name)
        fields = tiles_of(session, line.event_id, found.revision)
    known = instruments(service.settings.plan.catalogue)
    body = calendar(line, found, targets, known, service.settings.page_url, fields)
    return _file(body, "text/calendar; charset=utf-8", line, "windows.ics")


@router.get("/map.fits")
def localization(service: ServiceDep, name: Name) -> Response:
    """The map in use, as a multi-order FITS file."""
    with service.read() as session:
        line = _event(session, name)
        body = _map_bytes(session, line)
    return _file(body, "application/fits", line, "map.fits")


@router.get("/region.moc.{kind}")
def region(
    service: ServiceDep, kind: Literal["json", "fits"], name: Name, level: Level = 0.9
) -> Response:
    """A credible region as a Multi-Order Coverage map (IVOA MOC 2.0), JSON or FITS."""
    if kind == "fits" and not HAS_MOC:
        raise HTTPException(501, "FITS needs the extra 'moc' (mocpy); JSON is there without it")
    with service.read() as session:
        line = _event(session, name)
        body = _map_bytes(session, line)
    skymap = skymaps.load(body)
    what = f"region-{100 * level:g}.moc.{kind}"
    if kind == "json":
        cells = json.dumps(region_moc_json(skymap, level)).encode()
        return _file(cells, "application/json", line, what)
    out = io.BytesIO()
    region_moc(skymap, level).serialize("fits").writeto(out)
    return _file(out.getvalue(), "application/fits", line, what)


def _event(session: Session, name: str) -> EventLine:
    line = views.event(session, finding.one(session, name))
    assert line is not None
    return line


def _plan(session: Session, name: str) -> tuple[EventLine, PlanLine, list[Target]]:
    line = _event(session, name)
    found = views.plans(session, line.event_id, 1)
    if not found:
        raise UnknownRecord(f"event {line.event_id!r} has no plan yet")
    return line, found[0], views.targets(session, line.event_id, found[0].revision)


def _map_bytes(session: Session, line: EventLine) -> bytes:
    row = session.get(LocalizationRow, line.localization_id) if line.localization_id else None
    if row is None:
        raise UnknownRecord(f"event {line.event_id!r} has no map")
    return row.fits


def _table(table: Rows, kind: Format, line: EventLine, what: str, more: dict[str, Any]) -> Response:
    about = {"event": line.event_id, "is_practice": line.is_practice, "state": line.state, **more}
    if kind == "csv":
        body = to_csv(table)
    else:
        body = (to_votable if kind == "vot" else to_json)(table, about)
    return _file(body, _TYPES[kind], line, f"{what}.{kind}")


def _file(body: bytes, media_type: str, line: EventLine, what: str) -> Response:
    return _named(body, media_type, line.event_id, line.is_practice, what)


def _named(body: bytes, media_type: str, name: str, is_practice: bool, what: str) -> Response:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:80]
    practice = "practice-" if is_practice else ""
    disposition = f'attachment; filename="{practice}{stem}-{what}"'
    return Response(body, media_type=media_type, headers={"Content-Disposition": disposition})
