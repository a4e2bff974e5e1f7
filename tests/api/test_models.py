"""Models uploaded over HTTP: checked in the background, confined, shown to whom they concern."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from mmcoord import usermodels
from mmcoord.access import Scope
from mmcoord.api.app import create_app
from mmcoord.inference.conformance import Check, Report
from mmcoord.inference.probe import probe
from mmcoord.inference.source import UserSource
from mmcoord.stages.context import Context
from mmcoord.stages.modelcheck import ModelChecks
from mmcoord.store.tables import RunRequestRow, UserModelRow
from tests.api.conftest import make_token
from tests.api.test_runs import brought
from tests.inference.usermodels import FADER
from tests.making import make_context
from tests.stores import migrated

pytestmark = pytest.mark.usefixtures("sandbox_works")
ALL = (Scope.MODELS, Scope.READ, Scope.RUN)
OTHER = FADER + "\n# better\n"
BAD = FADER.replace("return", "return 1 / 0 +")


@pytest.fixture
def ctx(sqlite_url: str, tmp_path: Path) -> Iterator[Context]:
    database = migrated(sqlite_url)
    yield make_context(database, tmp_path / "out")
    database.close()


@pytest.fixture
def client(ctx: Context) -> Iterator[TestClient]:
    with TestClient(create_app(ctx.database, ctx.settings, list)) as found:
        yield found


def upload(client: TestClient, who: dict[str, str], source: str, name: str = "fader") -> Any:
    return client.post("/api/v1/models", headers=who, json={"source": source, "name": name})


def check(ctx: Context, checks: ModelChecks) -> None:
    """Until nothing waits; seconds, where the machine is busy."""
    deadline = time.monotonic() + 120
    while True:
        checks.run(ctx)
        with ctx.database.read() as session:
            if usermodels.oldest_unchecked(session) is None:
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def judged(ctx: Context, accepted: bool) -> None:
    """Every waiting model gets this verdict; for tests of what follows from it."""
    with ctx.database.write() as session:
        while (row := usermodels.oldest_unchecked(session)) is not None:
            sha256 = UserSource(row.name, row.version, row.source).sha256
            found = (Check("finite", accepted, "a line"),)
            verdict = Report(row.name, sha256, accepted, "fast", 0.1, found)
            usermodels.conclude(session, row.name, row.version, verdict)
            session.flush()
        for charge in session.execute(select(RunRequestRow)).scalars():
            charge.charged_cpu_s = charge.charged_cpu_s or 0.0


def charges(ctx: Context) -> dict[str, float | None]:
    with ctx.database.read() as session:
        rows = session.execute(select(RunRequestRow)).scalars()
        return {row.run_key: row.charged_cpu_s for row in rows}


@pytest.mark.slow
def test_an_uploaded_model_is_checked_apart_and_then_serves_runs(
    ctx: Context, client: TestClient
) -> None:
    own = make_token(ctx.database, "own", *ALL)
    assert client.post(
        "/api/v1/runs", headers=own, json=brought(models=["fader"])
    ).status_code == 422  # fmt: skip
    answer = upload(client, own, FADER)
    assert answer.status_code == 202, answer.text
    assert (answer.json()["state"], answer.json()["version"]) == ("checking", 1)
    assert upload(client, own, FADER).json()["version"] == 1  # the same text: not twice
    checks = ModelChecks(recovery_s=0.0)
    check(ctx, checks)
    shown = client.get("/api/v1/models/fader", headers=own).json()
    assert (shown["state"], shown["speed"]) == ("accepted", "fast")
    assert shown["source"] == FADER
    names = [c["name"] for c in shown["report"]["checks"] if c["passed"]]
    assert {"priors", "finite", "deterministic", "speed"} <= set(names)
    ((key, cpu_s),) = charges(ctx).items()
    assert key == "model fader@1"
    assert cpu_s is not None
    assert cpu_s > 0
    asked = client.post("/api/v1/runs", headers=own, json=brought(models=["fader"]))
    assert asked.status_code == 202
    assert upload(client, own, FADER).json() == {**answer.json(), "state": "accepted",
                                                 "speed": "fast"}  # fmt: skip
    assert upload(client, own, BAD).json()["version"] == 2
    check(ctx, checks)
    checks.close()
    refused = client.get("/api/v1/models/fader@2", headers=own).json()
    assert refused["state"] == "refused"
    assert "line 7: raised ZeroDivisionError" in str(refused["report"])
    with ctx.database.read() as session:  # runs go on with the version that is good
        assert usermodels.sources(session, ["fader"])[0].version == 1


def test_a_check_that_a_crash_cut_short_is_made_at_the_next_start(
    ctx: Context, client: TestClient
) -> None:
    own = make_token(ctx.database, "own", *ALL)
    upload(client, own, BAD)
    first = ModelChecks(lambda: ThreadPoolExecutor(1))
    assert first.run(ctx) == 1  # under way, and never collected
    second = ModelChecks(lambda: ThreadPoolExecutor(1))
    check(ctx, second)
    assert client.get("/api/v1/models/fader", headers=own).json()["state"] == "refused"
    first.close()
    second.close()


def test_a_check_that_itself_fails_refuses_the_model_and_goes_on(
    ctx: Context, client: TestClient
) -> None:
    own = make_token(ctx.database, "own", *ALL)
    upload(client, own, FADER)
    with ctx.database.write() as session:  # as if a later version of ours could not read it
        session.get_one(UserModelRow, ("fader", 1)).source = "import os"
    checks = ModelChecks(lambda: ThreadPoolExecutor(1))
    check(ctx, checks)
    checks.close()
    shown = client.get("/api/v1/models/fader", headers=own).json()
    assert shown["state"] == "refused"
    assert "model fader" in shown["report"]["checks"][0]["text"]
    assert charges(ctx) == {"model fader@1": 0.0}


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"source": FADER + "\n) = 3", "name": "fader"}, 422, "line 9: not Python"),
        ({"source": "x = 1", "name": "fader"}, 422, "absolute_magnitude"),
        ({"source": FADER, "name": "villar17_2"}, 422, "taken by an installed model"),
        ({"source": FADER, "name": "../x"}, 422, "not a model's name"),
        ({"source": FADER}, 422, "not a model's name"),
        ({"source": "\ud800", "name": "fader"}, 422, ""),
        ({"source": "\0", "name": "fader"}, 422, ""),
        ({"source": "#" * 300_000, "name": "fader"}, 422, "262144"),
        ({"source": FADER, "name": "fader", "uploaded_by": "foreign"}, 422, "uploaded_by"),
        ({}, 422, "source"),
        ({"source": "#" * 3_000_000}, 413, "bytes"),
    ],
)  # fmt: skip
def test_what_is_no_model_is_told_and_not_stored(
    ctx: Context, client: TestClient, body: dict[str, Any], status: int, word: str
) -> None:
    own = make_token(ctx.database, "own", *ALL)
    answer = client.post(
        "/api/v1/models",
        headers={**own, "Content-Type": "application/json"},
        content=json.dumps(body),
    )
    assert answer.status_code == status, answer.text
    assert word in answer.json()["detail"]
    assert client.get("/api/v1/models", headers=own).json()["added"] == []


def test_without_a_sandbox_nothing_is_taken(
    ctx: Context, client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = make_token(ctx.database, "own", *ALL)
    monkeypatch.setenv("PATH", str(tmp_path))  # no bubblewrap there
    probe.cache_clear()
    answer = upload(client, own, FADER)
    monkeypatch.undo()
    assert answer.status_code == 503
    assert "models from others are not run" in answer.json()["detail"]
    assert client.get("/api/v1/models", headers=own).json()["added"] == []


def test_one_at_a_time_and_only_what_the_quota_pays_for(ctx: Context, client: TestClient) -> None:
    own = make_token(ctx.database, "own", *ALL)
    assert upload(client, own, FADER).status_code == 202
    second = upload(client, own, FADER, name="other")
    assert second.status_code == 429
    assert "fader@1 is being checked" in second.json()["detail"]
    foreign = make_token(ctx.database, "foreign", *ALL)
    assert upload(client, foreign, FADER, name="other").status_code == 202
    poor = make_token(ctx.database, "poor", *ALL, quota_cpu_s=0.0)
    answer = upload(client, poor, FADER, name="third")
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


def test_a_name_belongs_to_who_had_it_first(ctx: Context, client: TestClient) -> None:
    own, foreign = (make_token(ctx.database, name, *ALL) for name in ("own", "foreign"))
    upload(client, own, FADER)
    judged(ctx, accepted=True)
    answer = upload(client, foreign, OTHER)
    assert answer.status_code == 409
    assert client.post("/api/v1/models/fader/retire", headers=foreign).status_code == 403
    assert upload(client, own, OTHER).json()["version"] == 2
    judged(ctx, accepted=True)
    retired = client.post("/api/v1/models/fader@2/retire", headers=own)
    assert retired.json() == {"name": "fader", "versions": [2]}
    assert client.post("/api/v1/models/fader/retire", headers=own).json()["versions"] == [1]
    asked = client.post("/api/v1/runs", headers=own, json=brought(models=["fader"]))
    assert asked.status_code == 422
    states = [line["state"] for line in client.get("/api/v1/models", headers=own).json()["added"]]
    assert states == ["retired", "retired"]


ROUTES = {
    "/api/v1/models": "POST",
    "/api/v1/models/{model}": "GET",
    "/api/v1/models/{model}/retire": "POST",
}


def test_who_may_see_a_model(ctx: Context, client: TestClient) -> None:
    """Every route x everybody x (accepted, refused, checking, missing)."""
    document = client.get("/api/v1/openapi.json").json()
    assert {path for path in document["paths"] if "/models" in path} == set(ROUTES)
    own = make_token(ctx.database, "own", *ALL)
    for name, verdict in (("good", True), ("bad", False)):
        upload(client, own, FADER, name=name)
        judged(ctx, accepted=verdict)
    upload(client, own, FADER, name="new")
    foreign = make_token(ctx.database, "foreign", *ALL)
    seen = [(own, ("good", "bad", "new")), (foreign, ("good",))]
    for who, names in seen:
        listed = client.get("/api/v1/models", headers=who).json()["added"]
        assert {line["name"] for line in listed} == set(names)
        for name in ("good", "bad", "new"):
            status = client.get(f"/api/v1/models/{name}", headers=who).status_code
            assert status == (200 if name in names else 404)
    for name in ("bad", "new", "bad@1"):
        for path, method in list(ROUTES.items())[1:]:
            hidden = client.request(method, path.format(model=name), headers=foreign)
            missing = client.request(method, path.format(model="x" + name[1:]), headers=foreign)
            assert hidden.status_code == missing.status_code == 404
            assert hidden.text.replace(name.split("@")[0], "") == missing.text.replace(
                "x" + name.split("@")[0][1:], ""
            )
            assert dict(hidden.headers) == dict(missing.headers) or (
                hidden.headers.keys() == missing.headers.keys()
            )
    for scopes, refused in (((Scope.READ,), {"POST"}), ((Scope.MODELS,), {"GET"})):
        short = make_token(ctx.database, "own", *scopes)
        for path, method in ROUTES.items():
            answer = client.request(method, path.format(model="good"), headers=short, json={})
            assert (answer.status_code == 403) is (method in refused)
    for path, method in ROUTES.items():
        answer = client.request(method, path.format(model="good"), json={})
        assert answer.status_code == 401
