"""Health: one answer for machines, and the reasons behind it for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from mmcoord.api.models import Health
from mmcoord.api.service import Service, ServiceDep
from mmcoord.store import views_log
from mmcoord.store.alarms import AlarmLine, open_alarms
from mmcoord.store.views_log import LedgerLine

__all__ = ["health_of", "router", "troubles"]

router = APIRouter()

_MISSED_LOOKS = 3
_SLOW_STORE_S = 120.0
_GOOD_STATES = ("connecting", "running", "paused")


@router.get("/healthz", tags=["health"])
def healthz(service: ServiceDep) -> Health:
    """``ok``, or ``degraded`` with the reasons. A store that cannot be read answers 503."""
    with service.read() as session:
        lines = views_log.ledger(session)
        standing = open_alarms(session)
    return health_of(service, lines, standing)


def health_of(
    service: Service, lines: Sequence[LedgerLine], standing: Sequence[AlarmLine]
) -> Health:
    """The health that this ledger, the sources and the alarms give."""
    sources = service.sources_status()
    reasons = [
        *troubles(lines, sources),
        *(f"alarm {alarm.key}: {alarm.text}" for alarm in standing if alarm.severity == "page"),
        *_not_watched(service),
    ]
    return Health(
        status="degraded" if reasons else "ok",
        ledger_balanced=all(line.lost == 0 for line in lines),
        sources=sources,
        version=service.version,
        reasons=reasons,
        alarms=list(standing),
    )


def _not_watched(service: Service) -> list[str]:
    """The watchdog is watched here: its thread may hang as any other."""
    last = service.watched_at() if service.watched_at is not None else None
    if last is None:
        return []
    silent = (service.now() - last).total_seconds()
    limit = _MISSED_LOOKS * service.settings.watchdog.every_s + _SLOW_STORE_S
    return [f"the watchdog has not looked for {silent:.0f} s"] if silent > limit else []


def troubles(lines: Sequence[LedgerLine], sources: Sequence[dict[str, Any]]) -> list[str]:
    """What is wrong, one sentence each; empty when nothing is."""
    found = [
        f"stage {line.stage}: {abs(line.lost)} "
        + ("lost" if line.lost > 0 else "more served than received")
        for line in lines
        if line.lost != 0
    ]
    for source in sources:
        name, state = source.get("name", "?"), str(source.get("state", "unknown"))
        if state not in _GOOD_STATES:
            error = source.get("last_error")
            found.append(f"source {name}: {state}" + (f" ({error})" if error else ""))
        if missing := source.get("missing_topics"):
            found.append(f"source {name}: topics missing: {', '.join(missing)}")
    return found
