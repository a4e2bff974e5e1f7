"""The web application: pages for people, JSON for programs.

It reads the store; all that it writes is what callers with a token ask for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import datetime
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException

from mmcoord.api import (
    approvals,
    claims,
    health,
    inference,
    metrics,
    posteriors,
    routes,
    slack,
    stream,
    uploads,
    worker,
)
from mmcoord.api.bodylimit import BodyLimit
from mmcoord.api.compressed import Compressed
from mmcoord.api.headers import SecurityHeaders
from mmcoord.api.heads import Heads
from mmcoord.api.models import Error, Health
from mmcoord.api.runwatch import ReadStates, RunWatch
from mmcoord.api.service import Service
from mmcoord.api.shared import SharedPages
from mmcoord.api.tail import JournalTail
from mmcoord.config import Settings
from mmcoord.errors import AmbiguousName, UnknownRecord
from mmcoord.posteriors.workshop import Workshop
from mmcoord.stages.context import load_sources
from mmcoord.store import views_log, views_runs
from mmcoord.store.database import Database
from mmcoord.store.tables import RunRow
from mmcoord.store.views_log import Entry
from mmcoord.web import (
    exports,
    pages,
    pages_claims,
    pages_notices,
    pages_runs,
    pages_search,
    pages_tonight,
    pages_viewer,
)
from mmcoord.web.assets import Assets
from mmcoord.web.rendering import made_after

__all__ = ["create_app"]

_log = logging.getLogger(__name__)
_MAX_BODY_BYTES = 2 * 2**20
"""5000 points are half of it."""

_FOR_PROGRAMS = (
    approvals.router,
    claims.router,
    inference.router,
    posteriors.router,
    routes.router,
    slack.router,
    stream.router,
    uploads.router,
    exports.router,
    worker.router,
)
_PAGES = (
    pages_claims.router,
    pages_notices.router,
    pages_runs.router,
    pages_search.router,
    pages_tonight.router,
    pages_viewer.router,
    pages.router,
)


def create_app(
    database: Database,
    settings: Settings,
    sources_status: Callable[[], list[dict[str, Any]]],
    *,
    max_viewers: int = 200,
    wake: Callable[[], None] = lambda: None,
    watched_at: Callable[[], datetime | None] | None = None,
    workshop: Workshop | None = None,
    health_only: bool = False,
    tell: Callable[[Session, RunRow], object] = lambda session, row: None,
) -> FastAPI:
    """The application on an open store.

    Parameters
    ----------
    database : Database
    settings : Settings
    sources_status : callable
        The listeners' states now, for the health page and ``/healthz``.
    max_viewers : int
        Live pages served at one time.
    wake : callable
        Called when a caller has asked for work.
    watched_at : callable
        When the watchdog last looked; none where no watchdog runs.
    workshop : Workshop
        Where pictures and predictions are made; by default a process of its own.
    health_only : bool
        A process without a page: ``/healthz`` and ``/metrics`` alone.
    tell : callable
        Writes what others are told of a run that a worker has done, in its transaction.
    """
    app = FastAPI(
        title="mmcoord",
        version=version("mmcoord"),
        docs_url=None,  # the interactive pages load their script from elsewhere
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        responses={422: {"model": Error}},  # not FastAPI's own shape: see _invalid
    )
    app.state.service = Service(
        database,
        settings,
        sources_status,
        _tail(database, max_viewers),
        RunWatch(_states_of(database)),
        version("mmcoord"),
        load_sources(),
        watched_at,
        wake,
        workshop or Workshop(),
        tell=tell,
    )
    app.add_middleware(Compressed, minimum_size=2000, compresslevel=5)
    app.add_middleware(SharedPages, version=database.version)
    app.add_middleware(Heads)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(BodyLimit, max_bytes=_MAX_BODY_BYTES, larger=worker.BODY_LIMITS)
    app.mount("/static", Assets(), name="static")
    for router in (health.router, metrics.router, *(() if health_only else _FOR_PROGRAMS)):
        app.include_router(router)
    for router in () if health_only else _PAGES:
        app.include_router(router, dependencies=[Depends(made_after)])
    app.add_exception_handler(AmbiguousName, _ambiguous)
    app.add_exception_handler(UnknownRecord, _unknown)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(SQLAlchemyError, _no_store)
    return app


def _tail(database: Database, max_viewers: int) -> JournalTail:
    def read_after(entry_id: int, limit: int) -> list[Entry]:
        with database.read() as session:
            return views_log.journal_after(session, entry_id, limit)

    def read_newest() -> int:
        with database.read() as session:
            return views_log.journal_newest(session)

    return JournalTail(read_after, read_newest, max_viewers=max_viewers)


def _states_of(database: Database) -> ReadStates:
    def read_states(run_keys: Collection[str]) -> dict[str, str]:
        with database.read() as session:
            return views_runs.states(session, run_keys)

    return read_states


def _say(request: Request, status: int, detail: str, headers: Any = None) -> Response:
    if request.url.path.startswith(("/api/", "/healthz", "/events/stream")):
        return JSONResponse({"detail": detail}, status, headers)
    return pages.error(request, status, detail, headers)


def _unknown(request: Request, error: Exception) -> Response:
    return _say(request, 404, str(error))


def _ambiguous(request: Request, error: Exception) -> Response:
    assert isinstance(error, AmbiguousName)
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": str(error), "events": error.event_ids}, 300)
    return _say(request, 300, str(error))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _say(request, error.status_code, str(error.detail), error.headers)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    said = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
    return _say(request, 422, said)


def _no_store(request: Request, error: Exception) -> Response:
    _log.error("the store cannot be read: %s", error)
    if request.url.path == "/healthz":
        service: Service = request.app.state.service
        answer = Health(
            status="degraded",
            ledger_balanced=None,
            sources=service.sources_status(),
            version=service.version,
            reasons=["the store cannot be read"],
            alarms=[],
        )
        return JSONResponse(answer.model_dump(), 503)
    return _say(request, 503, "the store cannot be read just now")
