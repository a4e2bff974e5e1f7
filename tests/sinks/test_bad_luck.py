"""A thousand deliveries through services that fail at random, driven as the outbox drives.

The outbox here is the contract of ``followup/sinks/base.py`` and no more: RETRY sends
again, UNKNOWN looks up first, and now and then the process dies after the request and
before the answer is written down, and sends again when it is back.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from followup.sinks import file, hermes, slack
from followup.sinks import tom as tom_sink
from followup.sinks.base import Outcome, Payload, Sink
from tests.sinks.sample import outgoing, row_of
from tests.sinks.services import HERMES_TOKEN, WEBHOOK, FakeHermes, FakeSlack, Flaky
from tests.tom_server import TomServer, extras

DELIVERIES = 1000
RESTART_S = 90.0


def _deliver(
    sink: Sink,
    payload: Payload,
    key: str,
    rng: random.Random,
    wait: Callable[[float], None],
) -> int:
    """Until it is sent; the number of crashes on the way."""
    crashes = 0
    for _ in range(200):
        answer = sink.send(payload, key=key)
        if rng.random() < 0.05:
            crashes += 1
            wait(RESTART_S)
            continue
        while answer.outcome is Outcome.UNKNOWN:
            wait(answer.retry_after_s or 1.0)
            looked = sink.lookup(payload, key=key)
            if looked is None:
                break
            answer = looked
        if answer.outcome is Outcome.SENT:
            return crashes
        assert answer.outcome in (Outcome.RETRY, Outcome.UNKNOWN), answer
        wait(answer.retry_after_s or 1.0)
    raise AssertionError(f"{key} was never delivered")


def _plan(number: int) -> Payload:
    return outgoing((row_of(number % 40, 1),), key=f"key-{number}", with_photometry=False)


@pytest.mark.parametrize("seed", range(4))
def test_hermes_gets_every_message_once(seed: int) -> None:
    rng = random.Random(seed)
    deliveries = DELIVERIES // 4
    service = FakeHermes(archive_delay_s=20.0)
    error = {"error": "User account does not have an associated SCIMMA auth credential."}
    flaky = Flaky(httpx.MockTransport(service), rng, rate=0.3, error_200=error)

    def wait(seconds: float) -> None:
        service.now_s += seconds

    with httpx.Client(transport=flaky) as client:
        sink = hermes.build("hermes", {"token": HERMES_TOKEN, "submitter": "t"}, client)
        for n in range(deliveries):
            _deliver(sink, sink.payload(_plan(n)), f"key-{n}", rng, wait)
    assert service.keys() == Counter({f"key-{n}": 1 for n in range(deliveries)})
    assert flaky.happened["500 after POST"] > 5
    assert flaky.happened["timeout after POST"] > 5
    assert flaky.happened["200 with error POST"] > 5


def test_slack_gets_every_message_and_repeats_only_what_it_left_unclear() -> None:
    """A webhook cannot be asked: a repeat after a lost answer is impossible to prevent."""
    rng = random.Random(2)
    service = FakeSlack()
    flaky = Flaky(httpx.MockTransport(service), rng, rate=0.3)
    crashes = 0
    with httpx.Client(transport=flaky) as client:
        sink = slack.build("slack", {"webhook": WEBHOOK}, client)
        for n in range(DELIVERIES):
            payload = sink.payload(_plan(n))
            crashes += _deliver(sink, payload, f"key-{n}", rng, lambda seconds: None)
    tags = Counter(m["blocks"][-1]["elements"][0]["text"] for m in service.posted)
    assert len(tags) == DELIVERIES
    unclear = flaky.happened["500 after POST"] + flaky.happened["timeout after POST"]
    repeats = sum(tags.values()) - DELIVERIES
    assert 0 < repeats <= unclear + crashes


def test_the_folder_gets_every_message_once(tmp_path: Path) -> None:
    rng = random.Random(3)
    with httpx.Client() as client:
        sink = file.build("file", {"folder": str(tmp_path)}, client)
        for n in range(DELIVERIES // 4):
            _deliver(sink, sink.payload(_plan(n)), f"key-{n}", rng, lambda seconds: None)
    assert len(list(tmp_path.iterdir())) == DELIVERIES // 4


@pytest.mark.tom
@pytest.mark.long
def test_a_real_tom_gets_every_target_once(tom: TomServer) -> None:
    """Fewer of them, as each is several requests to a real service."""
    rng = random.Random(4)
    event_id = "MS261123luck"
    numbers = range(12)
    rows = [
        replace(row_of(n, n + 1), object_id=f"luck-{n}.", ra_deg=300.0 + n * 0.01) for n in numbers
    ]
    with httpx.HTTPTransport() as inner:
        flaky = Flaky(inner, rng, rate=0.25)
        with httpx.Client(transport=flaky) as client:
            table = {"url": tom.url, "token": tom.bot.token}
            sink = _tom_sink(table, client)
            for revision in (1, 2):
                for row in rows:
                    ranked = replace(row, rank=row.rank if revision == 1 else 13 - row.rank)
                    plan = outgoing(
                        (ranked,),
                        event_id=event_id,
                        revision=revision,
                        with_photometry=row.rank <= 3,
                    )
                    payload = sink.payload(plan)
                    _deliver(sink, payload, plan.key, rng, lambda seconds: None)
                    if rng.random() < 0.2:
                        sink = _tom_sink(table, client)  # a restart forgets what was seen
    targets = tom.targets(name="luck-")
    assert Counter(t["name"] for t in targets) == Counter({r.object_id: 1 for r in rows})
    for target in targets:
        number = int(target["name"][5:-1])
        assert extras(target)["mmcoord_rank"] == str(12 - number)
        points = tom.get("/api/reduceddatums/", target__id=target["id"]).json()["count"]
        assert points == (3 if number < 3 else 0)
    assert tom.members(event_id) == {r.object_id for r in rows}
    assert sum(n for kind, n in flaky.happened.items() if "after" in kind) > 5


def _tom_sink(table: dict[str, object], client: httpx.Client) -> tom_sink.TomSink:
    return tom_sink.build("tom", table, client)
