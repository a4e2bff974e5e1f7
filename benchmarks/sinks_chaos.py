"""A thousand deliveries to every service, through a real HTTP server that fails by a seed.

    python -m benchmarks.sinks_chaos [--deliveries 1000] [--rate 0.3] [--only hermes] [--tom 100]

Each delivery is a row of the outbox, sent by the stage that sends them in the service (with a
clock that is turned on to the next attempt). Each service is its stand-in of the tests behind a
server in this process; whichever request the seed picks is refused, cut off before or after its
effect, answered late (beyond the sink's patience), with 500 before or after, 429, half an
answer, or 200 with an error inside where the service knows that. One attempt in twenty the
process "dies" between the request and the record of its answer, and begins anew.
``--tom N`` sends N targets to a real TOM in the same way.

Prints JSON: per service how many arrived, how many are missing and how many are there twice.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
from sqlalchemy import func, select
from sqlmodel import col

from benchmarks.sinks_misfortune import PATIENCE_S, UNCLEAR, Failing, Misfortune, Service, serving
from benchmarks.skymaps_common import report
from followup.sinks import (
    file,
    gcn_circular,
    hermes,
    portal,
    skyportal,
    slack,
    slack_bot,
    tom,
    treasuremap,
)
from followup.sinks.base import Answer, Payload, Sink
from mmcoord.records import Outgoing, OutgoingKind
from mmcoord.stages import deliver
from mmcoord.store.database import Database
from mmcoord.store.migrate import upgrade
from mmcoord.store.tables import DeliveryRow
from tests.making import make_context
from tests.sinks import test_portal, test_skyportal, test_slack_bot, test_treasuremap
from tests.sinks.sample import outgoing, row_of
from tests.sinks.services import HERMES_TOKEN, WEBHOOK, FakeHermes, FakeSlack
from tests.sinks.test_gcn_circular import SIGNED
from tests.tom_server import running_tom

DEATHS = 0.05
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Deaths are of the process alone: nothing here is about the disk."""


class Killed(BaseException):
    """The process dies; no stage may catch it."""


@dataclass(slots=True)
class Mortal:
    """A sink in a process that dies at times after a request, and forgets what it knew."""

    make: Callable[[], Sink]
    rng: random.Random
    sink: Sink = field(init=False)
    deaths: int = 0

    def __post_init__(self) -> None:
        self.sink = self.make()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sink, name)

    def send(self, payload: Payload, *, key: str) -> Answer:
        """As the sink does, if it lives to tell."""
        answer = self.sink.send(payload, key=key)
        if self.rng.random() < DEATHS:
            self.deaths += 1
            self.sink = self.make()
            raise Killed
        return answer


@dataclass(frozen=True, slots=True)
class Trial:
    """One kind of sink, its service and how to count what arrived there."""

    build: Callable[[str, Mapping[str, Any], httpx.Client], object]
    options: Mapping[str, Any]
    service: Service
    arrived: Callable[[], Counter[str]]
    practice: bool = True
    error_200: Mapping[str, Any] | None = None
    clock: Callable[[float], None] = lambda seconds: None
    """Told the seconds since the beginning."""


def plan(number: int) -> Outgoing:
    """One target of an event of its own, with our group's claim on it."""
    letters = "".join(chr(97 + number // 26**k % 26) for k in (2, 1, 0))
    row = replace(row_of(number % 300, 1), object_id=f"chaos-{number}.")
    claimed = replace(test_treasuremap.plan("claimed").undertakings[0], object_id=row.object_id)
    made = outgoing((row,), event_id=f"S261123{letters}", with_photometry=False)
    return replace(made, undertakings=(claimed,))


def trials(folder: Path) -> dict[str, Trial]:
    """All services that have a stand-in."""
    archive, channel, web = FakeHermes(archive_delay_s=20.0), FakeSlack(), _Web()
    pointings, fritz, lco = _Pointings(), test_skyportal.FakePortal(), test_portal.FakePortal()
    circulars: list[str] = []

    def gcn(request: httpx.Request) -> httpx.Response:
        circulars.append(httpx.Response(200, content=request.content).json()["subject"])
        return httpx.Response(201, json={"circularId": len(circulars)})

    def turn(seconds: float) -> None:
        archive.now_s = seconds

    def tags() -> Counter[str]:
        return Counter(m["blocks"][-1]["elements"][0]["text"] for m in channel.posted)

    return {
        "file": Trial(
            file.build, {"folder": str(folder)}, channel,
            lambda: Counter(path.name for path in folder.iterdir()),
        ),
        "hermes": Trial(
            hermes.build, {"token": HERMES_TOKEN, "submitter": "t"}, archive, archive.keys,
            error_200={"error": "User account does not have an associated SCIMMA auth credential."},
            clock=turn,
        ),
        "slack": Trial(slack.build, {"webhook": WEBHOOK}, channel, tags),
        "slack_bot": Trial(
            slack_bot.build, {"token": test_slack_bot.TOKEN, "channel": "C1", "picture": False},
            web, lambda: told_in(web),
            error_200={"ok": False, "error": "internal_error"},
        ),
        "treasuremap": Trial(
            treasuremap.build, test_treasuremap.TABLE, pointings,
            lambda: Counter(one["graceid"] for one in pointings.stored), practice=False,
        ),
        "skyportal": Trial(
            skyportal.build, test_skyportal.TABLE, fritz,
            lambda: Counter(one["obj_id"] for one in fritz.requests),
        ),
        "portal": Trial(
            portal.build, test_portal.TABLE | {"submit": True}, lco,
            lambda: Counter(one["name"] for one in lco.groups), practice=False,
        ),
        "gcn_circular": Trial(
            gcn_circular.build, SIGNED, gcn, lambda: Counter(circulars), practice=False
        ),
    }  # fmt: skip


_Web, _Pointings = test_slack_bot.FakeSlackWeb, test_treasuremap.FakeMap


def told_in(channel: _Web) -> Counter[str]:
    """Per event whose message and word in the thread are there the more frequent of the two."""
    events = {m["ts"]: m["metadata"]["event_payload"]["event_id"] for m in channel.roots()}
    roots = Counter(events.values())
    said = Counter(events[m["thread_ts"]] for m in channel.messages if "thread_ts" in m)
    return Counter({event: max(roots[event], said[event]) for event in roots if said[event]})


def run(name: str, trial: Trial, deliveries: int, rate: float, seed: int) -> dict[str, Any]:
    """Fill the outbox, empty it, and count at the service."""
    rng = random.Random(f"{seed} {name}")
    begun = time.perf_counter()
    with ExitStack() as stack:
        server = stack.enter_context(serving(Failing(trial.service, trial.error_200)))
        way = Misfortune(server, rng, rate)
        client = stack.enter_context(httpx.Client(transport=way))
        table = dict(trial.options)
        if name != "file":
            table["timeout_s"] = PATIENCE_S
        if trial.practice:
            table["practice"] = True
        sink = Mortal(lambda: cast(Sink, trial.build(name, table, client)), rng)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        database = Database(f"sqlite:///{folder / 'outbox.db'}")
        upgrade(database)
        start = datetime.now(UTC)
        now = [start]
        base = make_context(database, folder / "out")
        ctx = replace(base, sinks={name: cast(Sink, sink)}, now=lambda: now[0])
        _fill(database, sink, name, deliveries, start)
        while True:
            trial.clock((now[0] - start).total_seconds())
            try:
                tried = deliver.run(ctx)
            except Killed:
                deliver.recover(ctx)
                continue
            if tried:
                continue
            due = _next_due(database)
            if due is None:
                break
            now[0] = max(due, now[0])
        states = _states(database)
        database.close()
    arrived = trial.arrived()
    return {
        "deliveries": deliveries,
        "requests": way.requests,
        "failures": dict(sorted(way.happened.items())),
        "deaths": sink.deaths,
        "arrived": len(arrived),
        "missing": deliveries - len(arrived),
        "repeats": sum(arrived.values()) - len(arrived),
        "left_unclear": sink.deaths + sum(way.happened[kind] for kind in UNCLEAR),
        "states": states,
        "wall_s": round(time.perf_counter() - begun, 1),
    }


def _fill(database: Database, sink: Mortal, name: str, deliveries: int, now: datetime) -> None:
    with database.write() as session:
        for number in range(deliveries):
            made = replace(plan(number), is_practice=sink.is_practice)
            session.add(
                DeliveryRow(
                    key=made.key,
                    kind=OutgoingKind.PUBLISH.value,
                    sink=name,
                    event_id=made.event_id,
                    plan_revision=1,
                    target=made.rows[0].object_id,
                    is_practice=sink.is_practice,
                    payload=sink.payload(made),
                    created_at=now,
                    next_attempt_at=now + timedelta(seconds=number),
                )
            )


def _next_due(database: Database) -> datetime | None:
    with database.read() as session:
        due: datetime | None = session.execute(
            select(func.min(col(DeliveryRow.next_attempt_at))).where(
                col(DeliveryRow.state).in_(("pending", "unknown"))
            )
        ).scalar_one()
        return due


def _states(database: Database) -> dict[str, int]:
    with database.read() as session:
        found = session.execute(
            select(col(DeliveryRow.state), func.count()).group_by(col(DeliveryRow.state))
        )
        return {state: count for state, count in found}


def real_tom(deliveries: int, rate: float, seed: int) -> dict[str, Any]:
    """Through a TOM Toolkit as its users run it."""
    with running_tom() as there, httpx.Client(timeout=60.0) as onward:

        def service(request: httpx.Request) -> httpx.Response:
            url = httpx.URL(there.url).copy_with(raw_path=request.url.raw_path)
            headers = {k: v for k, v in request.headers.items() if k != "host"}
            return onward.request(request.method, url, headers=headers, content=request.content)

        options = {"url": "https://tom.invalid", "token": there.bot.token, "cone_arcsec": 0.0}
        trial = Trial(
            tom.build, options, service,
            lambda: Counter(target["name"] for target in there.targets(name="chaos-")),
        )  # fmt: skip
        return run("tom", trial, deliveries, rate, seed) | {"tom": there.version}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--deliveries", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--tom", type=int, default=0, help="targets sent to a real TOM")
    wanted = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        for name, trial in trials(Path(folder)).items():
            if not wanted.only or name in wanted.only:
                found[name] = run(name, trial, wanted.deliveries, wanted.rate, wanted.seed)
                print(name, json.dumps(found[name]), file=sys.stderr, flush=True)
    if wanted.tom:
        found["tom"] = real_tom(wanted.tom, wanted.rate, wanted.seed)
    report({"rate": wanted.rate, "seed": wanted.seed, "services": found})


if __name__ == "__main__":
    main()
