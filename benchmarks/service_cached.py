"""A question whose answer is there: from submitting it to the first byte of the answer.

The store, SQLite or PostgreSQL, holds the answers (of the right form and size: 2000 draws of the
prior); ``mmcoord serve`` (its own uvicorn, a process apart) is asked the same question again and
again over one kept connection, as a named pair and with
photometry of one's own. "submit" is the POST, whose answer holds the summary: the figure. "answer"
is the GET of the whole result after it, "both" their sum; "health" is the peer: the same server's
health page, which asks the store too. "server_cpu_ms" is the server's processor time for one
submit, which others on the machine do not stretch as they do the wall. Measuring begins when the
server has done what it does at its start.

    python -m benchmarks.service_cached [--store sqlite|postgresql] [--repeats 300]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from fastapi.testclient import TestClient

from benchmarks.listeners_common import LONG_OPEN, Daemon, daemon, store_url
from benchmarks.service_common import BROUGHT, EVENT, OBJECT, first_byte_s, spread_ms, stored, token
from benchmarks.skymaps_common import report
from mmcoord.stages.infer import InferStage
from mmcoord.store.database import Database
from tests.api.drawing import Drawn, drawing_app
from tests.api.test_runs import submit, work
from tests.making import make_context

_MODELS = ["villar17_1"]
_N_DRAWS = 2000


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    arguments.add_argument("--repeats", type=int, default=300)
    asked = arguments.parse_args()
    questions: dict[str, dict[str, Any]] = {
        "pair": {"event_id": EVENT, "object_id": OBJECT, "models": _MODELS},
        "brought": {**BROUGHT, "models": _MODELS},
    }
    with store_url(asked.store) as url, stored(url) as database:
        who = token(database, "fast")
        _answer(database, who, questions)
        with daemon(url, [], match=LONG_OPEN, infer={"screen_threshold": 1.0}) as house:
            _settle(house)
            with httpx.Client(base_url=house.page, headers=who, timeout=60.0) as client:
                found = {
                    name: _measure(house, client, question, asked.repeats)
                    for name, question in questions.items()
                }
                health = [first_byte_s(client, "GET", "/healthz")[0] for _ in range(asked.repeats)]
        report({"store": asked.store, **found, "peer_health": spread_ms(health)})


def _settle(house: Daemon) -> None:
    """Until the server uses less than a fifth of a core for two seconds (idle: an eighth)."""
    for _ in range(60):
        before_s = house.cpu_s()
        time.sleep(2.0)
        if house.cpu_s() - before_s < 0.4:
            return
    raise TimeoutError("the server does not come to rest")


def _measure(
    house: Daemon, client: httpx.Client, question: dict[str, Any], repeats: int
) -> dict[str, Any]:
    times: dict[str, list[float]] = {"submit": [], "answer": [], "both": [], "samples": []}
    size = 0
    for _ in range(repeats):
        submit_s, body = first_byte_s(client, "POST", "/api/v1/runs", json=question)
        done = json.loads(body)
        assert done["how"] == "cached", done
        assert done["summary"], done
        answer_s, answer = first_byte_s(client, "GET", done["url"])
        samples_s, samples = first_byte_s(client, "GET", f"{done['url']}/samples.npz")
        size = len(samples)
        for name, took in zip(
            times, (submit_s, answer_s, submit_s + answer_s, samples_s), strict=True
        ):
            times[name].append(took)
    before_s = house.cpu_s()
    for _ in range(repeats):
        first_byte_s(client, "POST", "/api/v1/runs", json=question)
    return {
        "server_cpu_ms": round(1000.0 * (house.cpu_s() - before_s) / repeats, 2),
        **{name: spread_ms(values) for name, values in times.items()},
        "answer_bytes": len(answer),
        "samples_bytes": size,
    }


def _answer(database: Database, who: dict[str, str], questions: dict[str, dict[str, Any]]) -> None:
    """Match the candidate, ask each question once, and put the answers into the store."""
    with TemporaryDirectory() as folder:
        ctx = make_context(database, Path(folder))
        work(ctx, InferStage(Drawn(_N_DRAWS)))
        with TestClient(drawing_app(ctx)) as client:
            for question in questions.values():
                submit(client, who, question)
        work(ctx, InferStage(Drawn(_N_DRAWS)))


if __name__ == "__main__":
    main()
