"""The pages: each reads the store once and hands plain values to its template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from followup.claims import SkipReason
from mmcoord.api.health import health_of
from mmcoord.api.service import Service, ServiceDep
from mmcoord.errors import UnknownRecord
from mmcoord.store import alarms as stored_alarms
from mmcoord.store import claims as stored_claims
from mmcoord.store import finding, naming, summary, views, views_known, views_log, views_notices
from mmcoord.store.alarms import open_alarms
from mmcoord.store.tables import DeadLetterRow, DeliveryRow
from mmcoord.store.tiles import PREFIX as TILE
from mmcoord.store.tiles import tiles_of
from mmcoord.store.views import EventLine, Target
from mmcoord.store.views_candidates import Spot, spots
from mmcoord.store.views_log import ObjectLine, Point, RunDetail
from mmcoord.timescales import mjd_tai
from mmcoord.web import burst, changes, lightcurve, links
from mmcoord.web.exports import HAS_MOC
from mmcoord.web.lightcurve import LightCurve
from mmcoord.web.localtime import local_times
from mmcoord.web.rendering import render

__all__ = ["error", "router"]

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)

FACTORS = (
    "membership", "time", "kilonova", "information", "host", "rivals", "elsewhere", "claims",
    "brightness", "observability",
)  # fmt: skip
"""Columns of the ranked table, in the order in which a reader asks."""
STEPS = ("received", "matched", "screened", "inferred", "planned", "sent")
_PER_PAGE = 50
_ROWS = 25
"""Targets shown before somebody asks for all."""
_DOTS = 3000
_POINTS = 5000
_NOTICES = 100


def error(request: Request, status: int, detail: str, headers: Any = None) -> Response:
    """A page that says what went wrong."""
    service: Service = request.app.state.service
    page = render(service, request, "error.html", status=status, detail=detail)
    return HTMLResponse(page.body, status, headers)


# -- all events --------------------------------------------------------------------------


@router.get("/events")
def events(
    service: ServiceDep,
    request: Request,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> HTMLResponse:
    """Every event, the one heard of last first."""
    with service.read() as session:
        lines = views.events(session, _PER_PAGE, offset)
        total = views.event_total(session)
        ledger = views_log.ledger(session)
        standing = open_alarms(session)
    return render(
        service,
        request,
        "events.html",
        called=None,
        events=lines,
        total=total,
        offset=offset,
        per_page=_PER_PAGE,
        health=health_of(service, ledger, standing),
        alarms=standing,
    )


# -- one event ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Curve:
    """The chosen object: what was measured, and what the inference makes of it."""

    object_id: str
    picture: LightCurve | None
    run: RunDetail | None


@router.get("/events/{event_id:path}")
def event(
    service: ServiceDep,
    request: Request,
    event_id: str,
    target: str | None = None,
    bands: str | None = None,
    rows: str | None = None,
) -> Response:
    """One event: where, which candidates and why, what was done when.

    Another of its names leads to its page; a name of several events, to a list of them.
    """
    with service.read() as session:
        found = finding.find(session, event_id)
        if not found:
            raise UnknownRecord(f"event {event_id!r} is not known")
        if found != [event_id]:
            return _namesakes(service, request, session, event_id, found)
        line = views.event(session, event_id)
        assert line is not None
        values = _event_values(service, session, line, target, all_bands=bands == "all")
    hosts = service.settings.fetch.policy.hosts
    values["links"] = links.links([alert.urls for alert, _ in values["revisions"]], hosts)
    values["n_shown"] = len(values["rows"]) if rows == "all" else _ROWS
    values["has_moc"] = HAS_MOC
    values["local"] = local_times(service.settings)
    values["keep"] = "&rows=all" if rows == "all" else ""
    return render(service, request, "event.html", event=line, target=target, **values)


def _namesakes(
    service: Service, request: Request, session: Session, name: str, found: list[str]
) -> Response:
    if len(found) == 1:
        return RedirectResponse(f"/events/{quote(found[0], safe='')}", 307)
    lines = [line for line in (views.event(session, event_id) for event_id in found) if line]
    return render(
        service,
        request,
        "events.html",
        called=name,
        events=lines,
        total=len(lines),
        offset=0,
        per_page=len(lines),
        health=health_of(service, views_log.ledger(session), open_alarms(session)),
    )


def _event_values(
    service: Service, session: Session, line: EventLine, target: str | None, *, all_bands: bool
) -> dict[str, Any]:
    revisions = views.alerts(session, line.event_id)
    place = views.place(session, line.localization_id)
    plans = views.plans(session, line.event_id, 20)
    rows = views.targets(session, line.event_id, plans[0].revision) if plans else []
    before = views.targets(session, line.event_id, plans[1].revision) if len(plans) > 1 else []
    shown = burst.panel(session, line.event_id, line.event_time, service.now())
    candidates = burst.star_dots(rows) if shown else spots(session, line, _DOTS, rows)
    steps = burst.STEPS if shown else STEPS
    fields = tiles_of(session, line.event_id, plans[0].revision) if plans else ()
    claimed = stored_claims.newest(session, line.event_id)
    milestones = {m.what: m for m in views_log.milestones(session, line.event_id)}
    return {
        "revisions": [
            (alert, changes.alert_changes(earlier, alert))
            for earlier, alert in zip([None, *revisions], revisions, strict=False)
        ][::-1],
        "current": revisions[-1] if revisions else None,
        "place": place,
        "also": [
            name
            for name in finding.names_of(session, line.event_id)
            if name.learned_from != naming.EXTERNAL and not name.name.startswith("ivo://")
        ],
        "linked": finding.linked(session, line.event_id),
        "circulars": finding.circulars_of(session, line.event_id),
        "plans": plans,
        "rows": rows,
        "burst": shown,
        "factors": burst.FACTORS if shown else _shown_factors(rows),
        "claims": claimed,
        "tiles": fields,
        "no_tiles": _no_tiles(plans[0].note) if plans else "",
        "claimed_tiles": [name for name in claimed if name.startswith(TILE)],
        "skip_reasons": [reason.value for reason in SkipReason],
        "moves": changes.compare(before, rows) if len(plans) > 1 else [],
        "sky": service.drawings.of(
            place, candidates, [(t.ra_deg, t.dec_deg, t.field_deg2) for t in fields]
        ),
        "n_candidates": len(candidates) if shown else line.candidates_matched,
        "n_drawn": len(candidates),
        "curve": _curve(session, line, rows, candidates, target, all_bands=all_bands),
        "steps": [(what, milestones.get(what)) for what in steps]
        + [(what, found) for what, found in milestones.items() if what not in steps],
        "story": views_log.story(session, line.event_id, 60),
        "notices": views_notices.event_notices(session, line.event_id, _NOTICES),
        "deliveries": views_log.deliveries(session, 40, event_id=line.event_id),
        "delivery_counts": views_log.delivery_counts(session, event_id=line.event_id),
        "ledger": views_log.ledger(session),
    }


def _no_tiles(note: str) -> str:
    """The line of a plan's note that says why it has no tiles."""
    return next((line for line in note.splitlines() if line.startswith("No tiles")), "")


def _shown_factors(rows: list[Target]) -> list[str]:
    """The factors that any target of a plan has."""
    held = {name for target in rows for name in target.row.get("factors") or {}}
    return [name for name in FACTORS if name in held]


def _curve(
    session: Session,
    line: EventLine,
    rows: list[Target],
    candidates: list[Spot],
    wanted: str | None,
    *,
    all_bands: bool,
) -> Curve | None:
    object_id = wanted or (
        rows[0].object_id if rows else candidates[0].object_id if candidates else None
    )
    if object_id is None:
        return None
    row = next((r for r in rows if r.object_id == object_id), None)
    run_key = row.row.get("run_key") if row else None
    run = views_log.run(session, run_key) if run_key else None
    points = views_log.photometry(session, object_id, _POINTS)
    return Curve(object_id, _picture(points, run, line, all_bands=all_bands), run)


def _picture(
    points: list[Point], run: RunDetail | None, line: EventLine | None, *, all_bands: bool
) -> LightCurve | None:
    event_time = line.event_time if line else None
    return lightcurve.draw(
        points,
        run.light_curve if run else None,
        mjd_tai(event_time) if event_time else None,
        all_bands=all_bands,
    )


# -- one object --------------------------------------------------------------------------


@router.get("/objects/{object_id:path}")
def object_page(
    service: ServiceDep, request: Request, object_id: str, bands: str | None = None
) -> Response:
    """One object, whatever events it is matched with; a catalogue's name leads to it."""
    with service.read() as session:
        called = views_known.object_called(session, object_id)
        if called is not None and called != object_id:
            return RedirectResponse(f"/objects/{quote(called)}", 303)
        line: ObjectLine | None = views_log.object_line(session, object_id)
        points = views_log.photometry(session, object_id, _POINTS)
        if line is None and not points:
            raise UnknownRecord(f"object {object_id!r} is not known")
        matches = views_log.object_matches(session, object_id)
        runs = views_log.runs(session, 50, object_id=object_id)
        newest = next((run for run in runs if run.state == "done"), None)
        run = views_log.run(session, newest.run_key) if newest else None
        about = run.event_id if run else matches[0].event_id if matches else None
        related = views.event(session, about) if about else None
        notices = views_notices.object_notices(session, object_id, _NOTICES)
        known = (
            views_known.known_lines(session, object_id, line.ra_deg, line.dec_deg) if line else []
        )
    return render(
        service,
        request,
        "object.html",
        object_id=object_id,
        line=line,
        known=known,
        points=points,
        matches=matches,
        runs=runs,
        notices=notices,
        event=related,
        curve=Curve(object_id, _picture(points, run, related, all_bands=bands == "all"), run),
    )


# -- the house itself --------------------------------------------------------------------


@router.get("/health")
def health(
    service: ServiceDep,
    request: Request,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> HTMLResponse:
    """Counts that must agree, and what went wrong."""
    with service.read() as session:
        ledger = views_log.ledger(session)
        standing = open_alarms(session)
        values = {
            "runs": summary.runs(session),
            "recent_runs": views_log.runs(session, 20),
            "delivery_counts": views_log.delivery_counts(session),
            "n_deliveries": views_log.total(session, DeliveryRow),
            "latencies": views_log.recent_latencies(session, 2000),
            "dead_letters": views_log.dead_letters(session, _PER_PAGE, offset),
            "n_dead_letters": views_log.total(session, DeadLetterRow),
            "alarms": standing,
            "past_alarms": [a for a in stored_alarms.alarms(session, 20) if a.cleared_at],
            "counters": views_notices.counters(session),
        }
    return render(
        service,
        request,
        "health.html",
        health=health_of(service, ledger, standing),
        ledger=ledger,
        offset=offset,
        per_page=_PER_PAGE,
        viewers=service.tail.viewers,
        max_viewers=service.tail.max_viewers,
        **values,
    )
