"""The client against the real application, over a real connection and in asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from mmcoord.access import Scope
from mmcoord.api.app import create_app
from mmcoord.api.runwatch import RunWatch
from mmcoord.client import AsyncClient, Client
from mmcoord.errors import MmcoordError, NameTaken, OverQuota, Refused, UnknownRecord
from mmcoord.stages.context import Context
from mmcoord.stages.infer import InferStage
from tests.api.conftest import make_token
from tests.api.drawing import N_DRAWS, Drawn, drawing_app
from tests.api.test_models import judged
from tests.api.test_runs import Measured, brought, work
from tests.inference.usermodels import FADER
from tests.making import make_context
from tests.stores import migrated
from tests.web.server import serving


@pytest.fixture
def ctx(sqlite_url: str, tmp_path: Path) -> Iterator[Context]:
    database = migrated(sqlite_url)
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
        assert house.samples(asked.run_key)["mass"].tolist() == [0.1, 0.2]
        assert house.usage()["charged_cpu_s"] == 12.0
        assert house.events() == []


def test_a_finished_run_is_predicted_from_and_drawn(ctx: Context) -> None:
    question = brought()
    with serving(drawing_app(ctx)) as url, Client(url, token(ctx)) as house:
        asked = house.submit_photometry(question["photometry"], question["t0"], models=["steady"])
        with pytest.raises(MmcoordError, match="queued"):
            house.predict(asked.run_key, ["lsst:r"])
        work(ctx, InferStage(Drawn()))
        found = house.predict(asked.run_key, ["lsstr", "ztf:g"], stop="2026-03-04", step_day=1.0)
        assert (found.bands, len(found.t_day)) == (("lsst:r", "ztf:g"), 3)
        assert len(found.quantiles["ztf:g"]["q95"]) == 3
        draws = house.samples(asked.run_key)
        assert draws["temperature"].shape == (N_DRAWS,)
        picture = house.picture(asked.run_key, "light-curve", "svg")
        assert b"<svg" in picture
        with pytest.raises(MmcoordError, match="no parameter"):
            house.picture(asked.run_key, "corner", parameters=["colour"])


@pytest.mark.parametrize("streams", [True, False])
def test_it_waits_by_the_stream_or_where_there_is_none_by_asking(
    ctx: Context, app: FastAPI, streams: bool
) -> None:
    if not streams:
        nobody = RunWatch(lambda keys: {}, most=0)
        app.state.service = replace(app.state.service, run_watch=nobody)
    asked: list[str] = []
    app.middleware("http")(_noting(asked))
    question = brought()
    with serving(app) as url, Client(url, token(ctx)) as house:
        run = house.submit_photometry(question["photometry"], question["t0"])
        later = threading.Timer(0.5, work, (ctx, InferStage(Measured())))
        later.start()
        assert house.wait(run.run_key).state == "done"
        later.join()
    polls = asked.count(f"/api/v1/runs/{run.run_key}")
    assert polls == 1 if streams else polls > 1


def _noting(asked: list[str]) -> Any:
    async def note(request: Request, call_next: Any) -> Any:
        asked.append(request.url.path)
        return await call_next(request)

    return note


@pytest.mark.usefixtures("sandbox_works")
def test_a_model_is_uploaded_seen_and_retired(ctx: Context, app: FastAPI) -> None:
    headers = make_token(ctx.database, "fast", Scope.MODELS, Scope.READ)
    text = headers["Authorization"].removeprefix("Bearer ")
    with serving(app) as url, Client(url, text) as house:
        added = house.upload_model(FADER, "fader")
        assert (added.version, added.state) == (1, "checking")
        with pytest.raises(TimeoutError):
            house.wait_for_model("fader", timeout_s=0.1)
        judged(ctx, accepted=True)
        found = house.wait_for_model("fader@1")
        assert (found.state, found.source) == ("accepted", FADER)
        assert [one.name for one in house.models()] == ["fader"]
        assert house.retire_model("fader") == [1]
        with pytest.raises(MmcoordError, match="line 2"):
            house.upload_model("x = 1\n) = 2", "other")
        with pytest.raises(Refused, match="scope"):
            house.submit_pair("S1", "x")
    other = make_token(ctx.database, "other", Scope.MODELS)["Authorization"]
    with serving(app) as url, Client(url, other.removeprefix("Bearer ")) as stranger:
        with pytest.raises(NameTaken):
            stranger.upload_model(FADER, "fader")


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
            assert list(await house.samples(asked.run_key)) == ["mass"]
            assert (await house.usage())["waiting"] == 0
            assert await house.events() == []
            with pytest.raises(UnknownRecord):
                await house.plan("S1")

    asyncio.run(ask())
