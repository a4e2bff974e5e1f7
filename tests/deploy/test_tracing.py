"""Traces: what the stages did, as OpenTelemetry sees it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sqlalchemy import select

import skymaps
from mmcoord.config import Settings
from mmcoord.stages import intake
from mmcoord.store import journal
from mmcoord.store.database import Database
from mmcoord.store.tables import JournalRow
from mmcoord.tracing import Traces, otlp_exporter
from tests.making import T0, gaussian_map, lvk_notice, make_context, send
from tests.stores import migrated

pytest.importorskip("opentelemetry.sdk", reason="extra otel is not installed")
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
    InMemorySpanExporter,
)
from opentelemetry.trace import StatusCode


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Database]:
    database = migrated(sqlite_url)
    yield database
    database.close()


def tell(database: Database, *entries: journal.Entry) -> None:
    for second, entry in enumerate(entries):
        with database.write() as session:
            journal.write(session, [entry], T0 + timedelta(seconds=second))


def test_nothing_is_traced_unless_it_is_asked_for() -> None:
    assert Settings().trace_endpoint == ""


def test_what_one_notice_set_going_is_one_trace(store: Database) -> None:
    exporter = InMemorySpanExporter()
    traces = Traces(store, exporter, "1")
    tell(
        store,
        journal.Entry("intake", "received", "", "n1", "S1", latency_s=0.25),
        journal.Entry("intake", "received", "", "n2", "S2", latency_s=0.5),
        journal.Entry("match", "matched", "", "n1", "S1", latency_s=0.75),
        journal.Entry("infer", "failed", "", "n1", "S1", "SN1", latency_s=1.5),
        journal.Entry("watchdog", "alarm", "", ""),  # caused by no notice
    )
    assert traces.step() == 5
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == [
        "intake: received", "intake: received", "match: matched", "infer: failed"
    ]  # fmt: skip
    first, other, matched, failed = spans
    assert first.context.trace_id == matched.context.trace_id == failed.context.trace_id
    assert first.context.trace_id != other.context.trace_id
    assert first.parent is None
    assert other.parent is None
    assert {s.parent.span_id for s in (matched, failed) if s.parent} == {first.context.span_id}
    assert len({span.context.span_id for span in spans}) == 4
    assert [(s.end_time or 0) - (s.start_time or 0) for s in spans] == [
        250_000_000, 500_000_000, 750_000_000, 1_500_000_000
    ]  # fmt: skip
    assert failed.end_time == (T0 + timedelta(seconds=3)).timestamp() * 1e9
    assert (failed.status.status_code, matched.status.status_code) == (
        StatusCode.ERROR,
        StatusCode.UNSET,
    )
    assert failed.attributes == {
        "mmcoord.stage": "infer", "mmcoord.cause_id": "n1",
        "mmcoord.event_id": "S1", "mmcoord.object_id": "SN1",
    }  # fmt: skip


def test_a_trace_goes_on_after_a_restart(store: Database) -> None:
    before, after = InMemorySpanExporter(), InMemorySpanExporter()
    traces = Traces(store, before, "1")
    tell(store, journal.Entry("intake", "received", "", "n1"))
    traces.step()
    again = Traces(store, after, "1")  # from the journal's end: nothing is sent a second time
    tell(store, journal.Entry("match", "matched", "", "n1"))
    again.step()
    (root,), (child,) = before.get_finished_spans(), after.get_finished_spans()
    assert child.parent is not None
    assert child.parent.span_id == root.context.span_id
    assert child.context.trace_id == root.context.trace_id


def test_what_the_collector_did_not_take_is_sent_again(store: Database) -> None:
    class Away(InMemorySpanExporter):
        is_away = True

        def export(self, spans):  # type: ignore[no-untyped-def]
            return SpanExportResult.FAILURE if self.is_away else super().export(spans)

    exporter = Away()
    traces = Traces(store, exporter, "1")
    tell(store, journal.Entry("intake", "received", "", "n1"))
    assert traces.step() == 0
    exporter.is_away = False
    assert traces.step() == 1
    assert traces.step() == 0
    assert len(exporter.get_finished_spans()) == 1


def test_a_collector_gets_the_spans_of_a_notice_that_went_through_the_stages(
    store: Database, tmp_path: Path
) -> None:
    """Over HTTP, by the protocol's own messages."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    got = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        exporter = otlp_exporter(f"http://127.0.0.1:{server.server_port}/v1/traces")
        traces = Traces(store, exporter, "1")
        ctx = make_context(store, tmp_path / "out")
        send(ctx, [("igwn", lvk_notice(skymap=skymaps.to_fits_bytes(gaussian_map())))])
        intake.run(ctx)
        assert traces.step() > 0
        exporter.shutdown()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    ((path, request),) = got
    assert path == "/v1/traces"
    spans = request.resource_spans[0].scope_spans[0].spans
    with store.read() as session:
        told = session.execute(select(JournalRow).order_by(JournalRow.id)).scalars().all()
    assert [s.name for s in spans] == [f"{row.stage}: {row.what}" for row in told if row.cause_id]
