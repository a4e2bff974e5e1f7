"""What the tests of a real TOM send: targets of a patch of the sky, each in its own message."""

from __future__ import annotations

from dataclasses import replace

from followup.sinks.base import Outcome
from followup.sinks.tom import TomSink
from mmcoord.records import PlanRow
from tests.sinks.sample import outgoing, row_of

__all__ = ["post", "rows"]


def rows(event: str, n: int) -> list[PlanRow]:
    """Targets of a patch of the sky that is the event's own."""
    first = sum(map(ord, event)) % 300
    return [
        replace(row_of(k, k + 1), object_id=f"{event}-{k}.", ra_deg=first + 0.02 * k, dec_deg=40.0)
        for k in range(n)
    ]


def post(sink: TomSink, event: str, some: list[PlanRow], revision: int) -> None:
    """Send them, and see each arrive."""
    for row in some:
        plan = outgoing((row,), event_id=event, revision=revision, with_photometry=False)
        answer = sink.send(sink.payload(plan), key=plan.key)
        assert answer.outcome is Outcome.SENT, answer
