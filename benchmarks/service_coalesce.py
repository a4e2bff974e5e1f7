"""A hundred equal questions of ten groups at one time: one run, and nobody waits longer for it.

``mmcoord serve`` (a process apart). First one client alone asks a question of its own and waits
for the answer by the event stream; then a hundred clients of ten groups ask another question, the
same for all, at one instant, and each waits. Both questions cost the engine the same (another
seed). Figures: runs executed, and the median and largest time from question to answer over that
of the one.

    python -m benchmarks.service_coalesce [--store sqlite|postgresql] [--clients 100]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from typing import Any

import httpx
from sqlalchemy import func, select
from sqlmodel import col

from benchmarks.listeners_common import daemon, store_url
from benchmarks.service_common import BROUGHT, stored, token
from benchmarks.skymaps_common import report
from mmcoord.client import AsyncClient
from mmcoord.store.database import Database
from mmcoord.store.tables import RunRequestRow, RunRow

_GROUPS = 10
_REPEATS = 5


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    arguments.add_argument("--clients", type=int, default=100)
    arguments.add_argument("--models", default="villar17_3,steady,sn_ia")
    asked = arguments.parse_args()
    models = asked.models.split(",")
    with store_url(asked.store) as url, stored(url) as database:
        tokens = [token(database, f"group{k}")["Authorization"].split()[1] for k in range(_GROUPS)]
        with daemon(url, [], infer={"workers": 1, "screen_threshold": 1.0}) as house:
            asyncio.run(_ask(house.page, tokens[:1], models, seed=1))  # compiles, loads
            single, many = [], []
            for k in range(_REPEATS):
                single += asyncio.run(_ask(house.page, tokens[:1], models, seed=100 + k))
                crowd = [tokens[n % _GROUPS] for n in range(asked.clients)]
                many.append(asyncio.run(_ask(house.page, crowd, models, seed=200 + k)))
            runs, requests = _counts(database)
        one = statistics.median(single)
        medians = [statistics.median(times) for times in many]
        largest = [max(times) for times in many]
        report(
            {
                "store": asked.store,
                "clients": asked.clients,
                "groups": _GROUPS,
                "repeats": _REPEATS,
                "runs_executed_per_crowd": (runs - _REPEATS - 1) / _REPEATS,
                "requests": requests,
                "one_s": [round(s, 2) for s in single],
                "crowd_median_s": [round(s, 2) for s in medians],
                "crowd_largest_s": [round(s, 2) for s in largest],
                "ratio_of_medians": round(statistics.median(medians) / one, 3),
                "ratio_of_largest": round(statistics.median(largest) / one, 3),
            }
        )


async def _ask(page: str, tokens: list[str], models: list[str], seed: int) -> list[float]:
    """Seconds from question to answer, of each client."""
    clients = [AsyncClient(page, text) for text in tokens]
    try:
        return await asyncio.gather(*(_one(client, models, seed) for client in clients))
    finally:
        await asyncio.gather(*(client.close() for client in clients))


async def _one(client: AsyncClient, models: list[str], seed: int) -> float:
    question: dict[str, Any] = BROUGHT
    begun = time.perf_counter()
    for _ in range(10):
        try:
            asked = await client.submit_photometry(
                question["photometry"],
                question["t0"],
                distance_mpc=(60.0, 12.0),
                models=models,
                seed=seed,
                private=False,
            )
            break
        except httpx.TransportError:
            await asyncio.sleep(0.1)
    run = await client.wait(asked.run_key)
    assert run.state == "done", run.error
    return time.perf_counter() - begun


def _counts(database: Database) -> tuple[int, int]:
    with database.read() as session:
        runs = session.execute(
            select(func.count()).select_from(RunRow).where(col(RunRow.attempts) > 0)
        ).scalar_one()
        requests = session.execute(select(func.count()).select_from(RunRequestRow)).scalar_one()
    return int(runs), int(requests)


if __name__ == "__main__":
    main()
