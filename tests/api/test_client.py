"""The client against the real application, over a real connection and in asyncio."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from mmcoord.api.app import create_app
from mmcoord.client import AsyncClient, Client
from mmcoord.errors import MmcoordError, OverQuota, Refused, UnknownRecord
from mmcoord.stages.context import Context
from mmcoord.stages.infer import InferStage
from mmcoord.store.database import Database
from mmcoord.store.migrate import upgrade
from tests.api.conftest import make_token
from tests.api.test_runs import Measured, brought, work
from tests.making import make_context
from tests.web.server import serving


@pytest.fixture
def ctx(sqlite_url: str, tmp_path: Path) -> Iterator[Context]:
    database = Database(sqlite_url)
    upgrade(database)
    yield make_context(database, tmp_path / "out")
    database.close()


@pytest.fixture
def app(ctx: Context) -> FastAPI:
    return create_app(ctx.database, ctx.settings, list)


def token(ctx: Context, **more: float) -> str:
    headers = make_token(ctx.database, "fast", **more)  # type: ignore[arg-type]
    return headers["Authorization"].removeprefix("Bearer ")


def test_a_question_is_asked_waited_for_and_answered(ctx: Context, app: FastAPI) -> None:
    question = brought()
    with serving(app) as url, Client(url, token(ctx)) as house:
        asked = house.submit_photometry(
            question["photometry"], question["t0"], distance_mpc=(60.0, 12.0)
        )
        assert (asked.how, asked.state) == ("executed", "queued")
        with pytest.raises(TimeoutError, match="queued"):
            house.wait(asked.run_key, timeout_s=0.2)
        work(ctx, InferStage(Measured()))
        run = house.wait(asked.run_key)
        assert run.state == "done"
        assert run.summary["p_kilonova"] == 0.9
        with np.load(io.BytesIO(house.samples(asked.run_key))) as samples:
            assert samples["mass"].shape == (2,)
        assert house.usage()["charged_cpu_s"] == 12.0
        assert house.events() == []


def test_faults_come_as_our_own_errors_in_the_service_s_words(ctx: Context, app: FastAPI) -> None:
    question = brought()
    with serving(app) as url:
        with Client(url) as stranger, pytest.raises(Refused, match="token"):
            stranger.submit_pair("S1", "x")
        with Client(url, token(ctx)) as house:
            with pytest.raises(UnknownRecord, match="S1"):
                house.submit_pair("S1", "x")
            with pytest.raises(UnknownRecord, match="not known"):
                house.samples("0" * 64)
            with pytest.raises(MmcoordError, match="no-such-model"):
                house.submit_photometry(
                    question["photometry"], question["t0"], models=["no-such-model"]
                )
        with Client(url, token(ctx, quota_cpu_s=0.0)) as poor, pytest.raises(OverQuota):
            poor.submit_photometry(question["photometry"], question["t0"])


def test_the_asynchronous_client_does_the_same(ctx: Context, app: FastAPI) -> None:
    question = brought()
    text = token(ctx)

    async def ask() -> None:
        transport = httpx.ASGITransport(app)
        async with AsyncClient("http://house", text, transport=transport) as house:
            asked = await house.submit_photometry(
                question["photometry"], question["t0"], redshift=0.01
            )
            await asyncio.to_thread(work, ctx, InferStage(Measured()))
            run = await house.wait(asked.run_key)
            assert run.has_ended
            assert run.summary["model"] == "stand-in"
            assert len(await house.samples(asked.run_key)) > 0
            assert (await house.usage())["waiting"] == 0
            assert await house.events() == []
            with pytest.raises(UnknownRecord):
                await house.plan("S1")

    asyncio.run(ask())
