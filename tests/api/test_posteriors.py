"""What a finished run gives: draws, magnitudes, pictures; made once, kept, the same for ever."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from mmcoord.api.app import create_app
from mmcoord.errors import BadInput, Busy
from mmcoord.inference.job import DistancePrior, Job, run_key
from mmcoord.posteriors.draws import columns
from mmcoord.posteriors.magnitudes import OtherEngine, predict
from mmcoord.posteriors.workshop import Workshop, one_process
from mmcoord.records import Photometry
from mmcoord.stages.context import Context
from mmcoord.stages.infer import InferStage
from mmcoord.stages.jobs import job_to_json
from mmcoord.store.tables import RunRow
from mmcoord.store.views_runs import RunContent
from tests.api.conftest import make_token
from tests.api.drawing import N_DRAWS, Drawn, answered, drawing_app
from tests.api.test_runs import Measured, brought, submit, work
from tests.making import make_context
from tests.stores import migrated

POINTS = tuple(
    Photometry("x", 61100.0 + day, band, mag, 0.05)
    for day, band, mag in ((0.5, "lsst:g", 19.2), (1.5, "lsst:r", 20.1), (2.5, "2mass:ks", 20.4))
)
JOB = Job(POINTS, 61100.0, DistancePrior("gaussian", 60.0, 12.0), models=("steady",))


@pytest.fixture
def ctx(sqlite_url: str, tmp_path: Path) -> Iterator[Context]:
    database = migrated(sqlite_url)
    yield make_context(database, tmp_path / "out")
    database.close()


@pytest.fixture
def client(ctx: Context) -> Iterator[TestClient]:
    with TestClient(drawing_app(ctx)) as found:
        yield found


def finished(job: Job, model: str, **changes: Any) -> RunContent:
    result = answered(job, model)
    content = RunContent(
        run_key(job), job_to_json(job), result.summary, dict(result.light_curve), result.samples
    )
    return replace(content, **changes)


def done(ctx: Context, client: TestClient, **more: Any) -> tuple[str, dict[str, str]]:
    """(Address, headers) of a private run that is done."""
    own = make_token(ctx.database, "own")
    key = submit(client, own, brought(**{"models": ["steady"], **more}))["run_key"]
    work(ctx, InferStage(Drawn()))
    return f"/api/v1/runs/{key}", own


# -- magnitudes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "job",
    [
        replace(JOB, models=("villar17_1",)),
        replace(JOB, models=("sn_ia",), host_dust="av", ebv_mw=0.2),
        replace(JOB, models=("afterglow",), redshift=0.05),
    ],
    ids=lambda job: job.models[0],
)
def test_magnitudes_from_stored_draws_are_those_of_the_engine_s_light_curve(job: Job) -> None:
    """The engine starts from the unit cube, the prediction from named columns."""
    run = finished(job, job.models[0])
    curve = run.light_curve["lsst:r"]
    t_day = [t - job.t0_mjd_tai for t in curve["mjd_tai"]]
    found = predict(run, ["2mass:ks", "lsst:r"], t_day)
    assert found.n_draws == N_DRAWS
    for band in ("lsst:r", "2mass:ks"):
        for level in ("q05", "q50", "q95"):
            ours, engine = found.quantiles[band][level], run.light_curve[band][level]
            assert [v is None for v in ours] == [v is None for v in engine]
            pairs = [(a, b) for a, b in zip(ours, engine, strict=True) if a is not None]
            assert np.allclose(*np.array(pairs).T, atol=3e-4)  # both are rounded, times too


def test_a_source_of_one_colour_fades_by_its_slope_and_spreads_as_its_draws() -> None:
    mags = np.linspace(20.0, 21.0, 101)
    draws = {
        "mag_at_event": mags,
        "slope": np.full(101, 0.05),
        "temperature": np.full(101, 8000.0),
        "sigma_sys": np.full(101, 0.1),
    }
    content = io.BytesIO()
    np.savez(content, **draws)
    run = finished(JOB, "steady", samples=content.getvalue())
    found = predict(run, ["lsst:r", "lsst:z"], [1.0, 3.0, 11.0])
    levels = {"q05": 0.05, "q16": 0.16, "q50": 0.5, "q84": 0.84, "q95": 0.95}
    for band in found.bands:
        middle = np.array(found.quantiles[band]["q50"])
        assert np.allclose(np.diff(middle), [0.1, 0.4], atol=2e-4)
        for name, level in levels.items():
            spread = np.array(found.quantiles[band][name]) - middle
            assert np.allclose(spread, level - 0.5, atol=2e-4)
    assert found.mjd_tai == (61101.0, 61103.0, 61111.0)


def test_a_run_of_another_engine_is_not_predicted_from() -> None:
    with pytest.raises(OtherEngine, match="has changed"):
        predict(finished(JOB, "steady", run_key="0" * 64), ["lsst:r"], [1.0])


def test_magnitudes_come_as_json_and_csv_at_the_times_asked_for(
    ctx: Context, client: TestClient
) -> None:
    url, own = done(ctx, client)
    query = {"bands": "lsstr, ztfg", "start": "2026-03-02T02:30:00Z", "stop": "2026-03-04T02:30Z"}
    found = client.get(f"{url}/magnitudes", params={**query, "step": 0.5}, headers=own).json()
    assert found["bands"] == ["lsst:r", "ztf:g"]
    assert found["t_day"] == pytest.approx([1.0, 1.5, 2.0, 2.5, 3.0], abs=2e-6)
    table = client.get(
        f"{url}/magnitudes", params={**query, "step": 0.5, "format": "csv"}, headers=own
    )
    assert table.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert len(rows) == 10
    assert [float(r["q50"]) for r in rows[:5]] == found["quantiles"]["lsst:r"]["q50"]


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("bands=nonsense", "nonsense"),
        ("bands=,", "bands"),
        ("bands=r", "bands"),
        ("bands=lsst:r&step=0", "step"),
        ("bands=lsst:r&step=nan", "step"),
        ("bands=lsst:r&step=0.0001", "4000"),
        ("bands=lsst:r,lsst:g,lsst:i&step=0.01", "4000"),
        ("bands=lsst:r&start=2026-03-05&stop=2026-03-04", "order"),
        ("bands=lsst:r&stop=2030-03-04", "100 d"),
        ("bands=lsst:r&format=xml", "format"),
        ("", "bands"),
    ],
)
def test_a_question_about_magnitudes_that_makes_no_sense_is_told_so(
    ctx: Context, client: TestClient, query: str, word: str
) -> None:
    url, own = done(ctx, client)
    answer = client.get(f"{url}/magnitudes?{query}", headers=own)
    assert answer.status_code == 422
    assert word in answer.json()["detail"]


# -- draws and pictures --------------------------------------------------------------------


def test_arrow_holds_the_same_draws_with_their_units(ctx: Context, client: TestClient) -> None:
    feather = pytest.importorskip("pyarrow.feather")
    url, own = done(ctx, client)
    answer = client.get(f"{url}/samples.arrow", headers=own)
    table = feather.read_table(io.BytesIO(answer.content))
    draws = columns(client.get(f"{url}/samples.npz", headers=own).content)
    assert table.column_names == list(draws)
    for name, values in draws.items():
        assert np.array_equal(table[name].to_numpy(), values)
    assert table.schema.field("temperature").metadata == {b"unit": b"K"}
    assert table.schema.metadata[b"model"] == b"steady"


@pytest.mark.parametrize("picture", ["corner", "light-curve"])
def test_pictures_are_pictures_and_the_same_bytes_again(
    ctx: Context, client: TestClient, picture: str
) -> None:
    url, own = done(ctx, client)
    png = client.get(f"{url}/{picture}.png", headers=own)  # all parameters
    assert png.headers["Content-Type"] == "image/png"
    assert png.content.startswith(b"\x89PNG")
    few = "?parameters=temperature,slope" if picture == "corner" else ""
    svg = client.get(f"{url}/{picture}.svg{few}", headers=own)
    texts = "".join(ET.fromstring(svg.text).itertext())
    for word in ("steady", "temperature [K]" if picture == "corner" else "lsst:r"):
        assert word in texts
    assert "script-src" not in svg.headers["Content-Security-Policy"]
    with TestClient(drawing_app(ctx)) as another:  # nothing in memory there
        assert another.get(f"{url}/{picture}.svg{few}", headers=own).content == svg.content


def test_a_corner_plot_of_what_is_not_there_is_told_so(ctx: Context, client: TestClient) -> None:
    url, own = done(ctx, client)
    answer = client.get(f"{url}/corner.png?parameters=slope,colour", headers=own)
    assert answer.status_code == 422
    assert "no parameter 'colour'" in answer.json()["detail"]
    twice = client.get(f"{url}/corner.png?parameters=slope,slope", headers=own)
    assert twice.status_code == 422


def _die() -> bytes:
    os._exit(3)


@pytest.mark.slow
def test_things_are_made_in_a_process_of_their_own_which_may_die(ctx: Context) -> None:
    workshop = Workshop(one_process)
    app = create_app(ctx.database, ctx.settings, list, workshop=workshop)
    with TestClient(app) as client:
        url, own = done(ctx, client)
        with pytest.raises(Busy):
            asyncio.run(workshop.make("bad", _die))
        answer = client.get(f"{url}/magnitudes?bands=lsst:r", headers=own)
        assert answer.json()["n_draws"] == N_DRAWS
    workshop.close()


# -- what is kept, and for whom ------------------------------------------------------------

FOR_EVER = ("samples.npz", "samples.arrow", "magnitudes?bands=lsst:r", "light-curve.png")


@pytest.mark.parametrize("what", FOR_EVER)
def test_an_answer_is_kept_as_its_key_says(ctx: Context, client: TestClient, what: str) -> None:
    private, own = done(ctx, client)
    public, _ = done(ctx, client, private=False)
    answer = client.get(f"{public}/{what}")
    assert answer.headers["Cache-Control"] == "public, max-age=86400, immutable"
    assert public.rsplit("/", 1)[1] in answer.headers["ETag"]
    for tag in (answer.headers["ETag"], f'"x", {answer.headers["ETag"].removeprefix("W/")}', "*"):
        again = client.get(f"{public}/{what}", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == answer.headers["ETag"]
    other = client.get(f"{public}/{what}", headers={"If-None-Match": '"another"'})
    assert other.content == answer.content
    head = client.head(f"{public}/{what}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["ETag"] == answer.headers["ETag"]
    mine = client.get(f"{private}/{what}", headers=own)
    assert mine.headers["Cache-Control"] == "private, no-cache"
    assert "Authorization" in mine.headers["Vary"]


def test_a_run_s_summary_is_the_same_until_the_run_changes(
    ctx: Context, client: TestClient
) -> None:
    own = make_token(ctx.database, "own")
    url = submit(client, own, brought(models=["steady"]))["url"]
    tag = client.get(url, headers=own).headers["ETag"]
    assert client.get(url, headers={**own, "If-None-Match": tag}).status_code == 304
    work(ctx, InferStage(Drawn()))
    new = client.get(url, headers={**own, "If-None-Match": tag})
    assert (new.status_code, new.json()["state"]) == (200, "done")
    submit(client, own, brought(models=["steady"]))  # only counts
    tag = new.headers["ETag"]
    assert client.get(url, headers={**own, "If-None-Match": tag}).status_code == 304


def test_head_of_a_stream_ends_at_once(ctx: Context, client: TestClient) -> None:
    own = make_token(ctx.database, "own")
    url = submit(client, own, brought())["url"]  # queued: the stream itself would go on
    answer = client.head(f"{url}/events", headers=own)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")


def test_what_is_not_there_yet_is_409(ctx: Context, client: TestClient) -> None:
    own = make_token(ctx.database, "own")
    url = submit(client, own, brought())["url"]
    for what in (*FOR_EVER, "corner.png"):
        answer = client.get(f"{url}/{what}", headers=own)
        assert answer.status_code == 409
        assert "queued" in answer.json()["detail"]


def test_a_run_whose_engine_has_changed_is_409_for_magnitudes_alone(
    ctx: Context, client: TestClient
) -> None:
    url, own = done(ctx, client)
    with ctx.database.write() as session:
        row = session.get_one(RunRow, url.rsplit("/", 1)[1])
        row.job = {**row.job, "seed": 77}  # another key, as another engine would give
    assert client.get(f"{url}/magnitudes?bands=lsst:r", headers=own).status_code == 409
    assert client.get(f"{url}/light-curve.png", headers=own).status_code == 200


def test_a_run_of_an_unknown_model_gives_its_draws(ctx: Context, client: TestClient) -> None:
    own = make_token(ctx.database, "own")
    url = submit(client, own, brought())["url"]
    work(ctx, InferStage(Measured()))  # a model "stand-in", which nobody has
    assert client.get(f"{url}/samples.npz", headers=own).status_code == 200
    assert client.get(f"{url}/magnitudes?bands=lsst:r", headers=own).status_code == 409


# -- the workshop --------------------------------------------------------------------------


def test_equal_wishes_at_a_time_are_one_piece_of_work_and_the_line_is_short() -> None:
    calls: list[str] = []
    go = threading.Event()

    def slow(name: str) -> bytes:
        calls.append(name)
        go.wait(10)
        return name.encode()

    workshop = Workshop(lambda: ThreadPoolExecutor(1), max_waiting=2)

    async def many() -> list[Any]:
        same = [asyncio.create_task(workshop.make("a", slow, "a")) for _ in range(5)]
        same[0].cancel()  # one goes away: the others get theirs
        other = asyncio.create_task(workshop.make("b", slow, "b"))
        await asyncio.sleep(0.05)
        with pytest.raises(Busy, match="2 such requests"):
            await workshop.make("c", slow, "c")
        go.set()
        return await asyncio.gather(*same[1:], other)

    assert asyncio.run(many()) == [b"a"] * 4 + [b"b"]
    assert calls == ["a", "b"]
    assert workshop.made("a") == b"a"
    workshop.close()


def test_what_was_made_is_kept_while_there_is_room_and_a_fault_is_not() -> None:
    workshop = Workshop(lambda: ThreadPoolExecutor(1), cache_bytes=100)

    def fail() -> bytes:
        raise BadInput("no")

    async def some() -> None:
        for name in "abc":
            await workshop.make(name, bytes, 40)
        for _ in range(2):
            with pytest.raises(BadInput):
                await workshop.make("d", fail)

    asyncio.run(some())
    assert [workshop.made(name) is None for name in "abcd"] == [True, False, False, True]
    workshop.close()


def _die() -> bytes:
    import os

    os._exit(3)
