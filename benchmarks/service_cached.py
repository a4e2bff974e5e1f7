"""A question whose answer is there: from submitting it to the first byte of the answer.

``mmcoord serve`` (its own uvicorn, a process apart) on SQLite or PostgreSQL has answered once;
then the same question is asked again and again over one kept connection, as a named pair and with
photometry of one's own. "submit" is the POST, whose answer holds the summary: the figure. "answer"
is the GET of the whole result after it, "both" their sum; "health" is the peer: the same server's
health page, which asks the store too.

    python -m benchmarks.service_cached [--store sqlite|postgresql] [--repeats 300]
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import httpx

from benchmarks.listeners_common import LONG_OPEN, daemon, store_url, wait_for
from benchmarks.service_common import BROUGHT, EVENT, OBJECT, first_byte_s, spread_ms, stored, token
from benchmarks.skymaps_common import report

_MODELS = ["steady", "villar17_1"]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    arguments.add_argument("--repeats", type=int, default=300)
    asked = arguments.parse_args()
    settings: dict[str, Any] = {
        "match": LONG_OPEN,
        "infer": {"models": ",".join(_MODELS), "screen_threshold": 0.0, "workers": 1},
    }
    with store_url(asked.store) as url, stored(url) as database:
        who = token(database, "fast")
        with daemon(url, [], **settings) as house:
            with httpx.Client(base_url=house.page, headers=who, timeout=60.0) as client:
                questions = {
                    "pair": {"event_id": EVENT, "object_id": OBJECT, "models": _MODELS},
                    "brought": {**BROUGHT, "models": _MODELS},
                }
                found = {
                    name: _measure(client, question, asked.repeats)
                    for name, question in questions.items()
                }
                health = [first_byte_s(client, "GET", "/healthz")[0] for _ in range(asked.repeats)]
        report({"store": asked.store, **found, "peer_health": spread_ms(health)})


def _measure(client: httpx.Client, question: dict[str, Any], repeats: int) -> dict[str, Any]:
    wait_for(lambda: _is_done(client, question), 300, "the run does not end")
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
    return {
        **{name: spread_ms(values) for name, values in times.items()},
        "answer_bytes": len(answer),
        "samples_bytes": size,
    }


def _is_done(client: httpx.Client, question: dict[str, Any]) -> bool:
    answer = client.post("/api/v1/runs", json=question)
    return answer.status_code == 202 and answer.json()["state"] == "done"


if __name__ == "__main__":
    main()
