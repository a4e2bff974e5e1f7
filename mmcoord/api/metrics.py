"""``GET /metrics`` for Prometheus; open to whoever may ask ``/healthz``."""

from __future__ import annotations

import logging

from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError

from mmcoord import metrics
from mmcoord.api.service import Service, ServiceDep

__all__ = ["router"]

router = APIRouter()

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_log = logging.getLogger(__name__)


@router.get("/metrics", include_in_schema=False)  # the description is of JSON
def get_metrics(service: ServiceDep) -> Response:
    """The state of the service as Prometheus reads it (text format 0.0.4).

    A store that cannot be read is a metric, not an error: a failed scrape would also hide the
    listeners, and could not be told from a dead service.
    """
    found = metrics.families(
        _reading(service),
        service.sources_status(),
        service.version,
        service.watched_at() if service.watched_at is not None else None,
        service.settings.sinks,
    )
    return Response(metrics.exposition(found), media_type=_CONTENT_TYPE)


def _reading(service: Service) -> metrics.Reading | None:
    try:
        with service.read() as session:
            return metrics.read(session)
    except SQLAlchemyError as error:
        _log.warning("no figures from the store: %s", str(error).partition("\n")[0])
        return None
