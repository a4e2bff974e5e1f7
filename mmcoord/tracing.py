"""Traces for OpenTelemetry, read off the journal: one trace a notice, one span a step it caused.

The journal says already what was done, when, how long it took and which notice had set it going
(``cause_id``), for all processes on a store. The identities of traces and spans are hashes of
what they are about, so that a span that is sent twice is the same span, and those of a notice
that came before a restart still belong together. Needs the extra ``otel``.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlmodel import col

from mmcoord.errors import MissingPart
from mmcoord.store import views_log
from mmcoord.store.database import Database
from mmcoord.store.tables import JournalRow
from mmcoord.store.views_log import Entry

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import SpanContext

__all__ = ["Traces", "otlp_exporter"]

_log = logging.getLogger(__name__)
_EVERY_S = 2.0
_BATCH = 500
_NS = 1_000_000_000


def otlp_exporter(endpoint: str) -> SpanExporter:
    """Sends spans to a collector (OTLP over HTTP, ``http://HOST:4318/v1/traces``).

    Raises
    ------
    MissingPart
        The extra ``otel`` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise MissingPart(
            "trace_endpoint needs OpenTelemetry: pip install mmcoord[otel]"
        ) from error
    return OTLPSpanExporter(endpoint=endpoint)


class Traces:
    """Follows the journal from its end; what happens while nobody follows has no trace."""

    def __init__(self, database: Database, exporter: SpanExporter, version: str) -> None:
        self._database = database
        self._exporter = exporter
        self._version = version
        with database.read() as session:
            self._last = views_log.journal_newest(session)

    def run(self, stop: threading.Event) -> None:
        """Follow until told to stop."""
        while not stop.is_set():
            if self.step() < _BATCH:
                stop.wait(_EVERY_S)

    def step(self) -> int:
        """Send what is new; returns the number of entries read. What the collector does not take
        is tried again."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        with self._database.read() as session:
            entries = views_log.journal_after(session, self._last, _BATCH)
            causes = {entry.cause_id for entry in entries if entry.cause_id}
            first = set(
                session.execute(
                    select(func.min(col(JournalRow.id)))
                    .where(col(JournalRow.cause_id).in_(causes))
                    .group_by(col(JournalRow.cause_id))
                ).scalars()
            )
        spans = [
            self._span(entry, is_root=entry.id in first) for entry in entries if entry.cause_id
        ]
        if spans and self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            _log.warning("the collector of traces did not take %d spans", len(spans))
            return 0
        if entries:
            self._last = entries[-1].id
        return len(entries)

    def _span(self, entry: Entry, *, is_root: bool) -> ReadableSpan:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import Status, StatusCode

        root = _context(entry.cause_id)
        end_ns = round(entry.at.timestamp() * _NS)
        about = {"stage": entry.stage, "cause_id": entry.cause_id}
        about |= {"event_id": entry.event_id or "", "object_id": entry.object_id or ""}
        return ReadableSpan(
            name=f"{entry.stage}: {entry.what}",
            context=root if is_root else _context(entry.cause_id, str(entry.id)),
            parent=None if is_root else root,
            resource=Resource({"service.name": "mmcoord", "service.version": self._version}),
            attributes={f"mmcoord.{name}": value for name, value in about.items() if value},
            start_time=end_ns - round((entry.latency_s or 0.0) * _NS),
            end_time=end_ns,
            status=Status(StatusCode.ERROR if entry.what == "failed" else StatusCode.UNSET),
        )


def _context(cause_id: str, span: str = "") -> SpanContext:
    """Identity of a span of a notice's trace; without ``span`` that of its root."""
    from opentelemetry.trace import SpanContext, TraceFlags

    trace_id = _hash(16, "trace", cause_id)
    span_id = _hash(8, "span", cause_id, span)
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags)


def _hash(size: int, *parts: str) -> int:
    found = hashlib.sha256("\0".join(parts).encode()).digest()[:size]
    return int.from_bytes(found, "big") or 1  # zero means "none" there
