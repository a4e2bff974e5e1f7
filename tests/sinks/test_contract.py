"""What every sink owes the outbox, whatever it speaks to."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import httpx
import pytest

from followup.sinks.base import Checks, Granularity, Sink
from mmcoord.records import OutgoingKind, PlanRow
from tests.sinks.sample import outgoing, row
from tests.sinks.services import HERMES_TOKEN, WEBHOOK

TABLES: dict[str, dict[str, object]] = {
    "file": {},
    "hermes": {"token": HERMES_TOKEN, "submitter": "test"},
    "kafka": {"topic": "mmcoord.test", "bootstrap_servers": "127.0.0.1:9"},
    "gcn_circular": {},
    "portal": {
        "url": "https://observe.invalid",
        "token": "t",
        "proposal": "P",
        "instruments": ["soar_goodman=X"],
        "filters": ["lsst:r=r"],
    },
    "skyportal": {
        "url": "https://portal.invalid",
        "token": "t",
        "allocations": ["soar_goodman=12"],
        "groups": ["3"],
    },
    "slack": {"webhook": WEBHOOK},
    "slack_bot": {"token": "xoxb-t", "channel": "C1"},
    "tom": {"url": "https://tom.invalid", "token": "t"},
    "treasuremap": {"token": "t", "groups": ["ztf"], "instruments": ["ztf=47"]},
}


def _no_network(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"{request.method} {request.url.host}")


@pytest.fixture(params=sorted(TABLES))
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sink]:
    kind: str = request.param
    (entry,) = entry_points(group="mmcoord.sinks", name=kind)
    table = dict(TABLES[kind], kind=kind)
    if kind == "file":
        table["folder"] = str(tmp_path)
    with httpx.Client(transport=httpx.MockTransport(_no_network)) as client:
        yield entry.load()(kind, table, client)


def _unknown() -> PlanRow:
    """A row of which nothing is known that may be unknown."""
    return PlanRow(1, "x", 10.0, -10.0, math.nan, {}, {}, *[None] * 11)


@pytest.mark.parametrize("kind", list(OutgoingKind))
@pytest.mark.parametrize("which", ["known", "unknown", "bare event"])
def test_a_payload_is_pure_and_plain_json(sink: Sink, kind: OutgoingKind, which: str) -> None:
    plan = outgoing((row(1) if which == "known" else _unknown(),), kind=kind)
    if which == "bare event":
        nothing = {
            "event_time": None,
            "alert_type": None,
            "area_90_deg2": None,
            "distance_mpc": math.inf,
            "distance_std_mpc": None,
            "far_hz": 0.0,
            "classification": {},
            "page_url": None,
        }
        plan = replace(plan, **nothing)
    first, second = sink.payload(plan), sink.payload(plan)
    assert first == second
    assert json.loads(json.dumps(first, allow_nan=False)) == first  # as the store returns it


def test_it_is_a_sink_that_can_be_checked(sink: Sink) -> None:
    assert isinstance(sink, Checks)
    assert isinstance(sink.granularity, Granularity)
    assert sink.name in TABLES
    assert sink.is_practice in (True, False)
