"""What a TOM's observation records say of our targets: who observes, and what was done.

Works at any TOM: the records of LCO, Gemini, SOAR or any other facility of it. Those of our
own facility are told by the claims behind them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from followup.claims import Verb
from followup.sinks._tom_payload import extras_of
from followup.sinks._tom_rest import Tom
from followup.sinks.base import Heard

__all__ = ["observed", "verb_of"]

_OWN_FACILITY = "mmcoord"
_VERBS = {
    Verb.COMPLETE: {"COMPLETED", "OBSERVED"},
    Verb.RELEASE: {
        *("CANCELED", "CANCELLED", "WINDOW_EXPIRED", "FAILURE_LIMIT_REACHED", "NOT_ATTEMPTED"),
        *("FAILED", "ABORTED", "INACTIVE"),
    },
    Verb.START: {"IN_PROGRESS", "ATTEMPTED", "ONGOING"},
    Verb.CLAIM: {"", "PENDING", "SCHEDULED", "QUEUED", "READY", "SUBMITTED", "ACTIVE"},
}
"""The states of LCO's portal, of Gemini and SOAR, and of the TOM's own examples."""


def verb_of(status: str) -> Verb | None:
    """What a record's status means to us; None for a word that no facility of ours uses."""
    word = status.strip().upper()
    return next((verb for verb, words in _VERBS.items() if word in words), None)


def observed(tom: Tom, sink: str) -> Iterator[Heard]:
    """The state of every observation record of a target that we have posted."""
    ours: dict[int, dict[str, str]] = {}
    for record in tom.observations():
        verb = verb_of(record["status"] or "")
        if record["facility"] == _OWN_FACILITY or verb is None:
            continue
        number = int(record["target"])
        if number not in ours:
            target: dict[str, Any] | None = tom.target(number)
            ours[number] = extras_of(target) if target else {}
        extras = ours[number]
        if "mmcoord_event" not in extras or "mmcoord_object" not in extras:
            continue
        yield Heard(
            verb=verb,
            event_id=extras["mmcoord_event"],
            object_id=extras["mmcoord_object"],
            who=f"{record['facility']} at {sink}",
            at=datetime.fromisoformat(record["modified"]),
            key=f"observation {record['id']} {verb}",
            instrument=record["facility"],
        )
