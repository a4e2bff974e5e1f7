"""Every route about a run x everybody x (own, public, foreign, missing)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from mmcoord.access import Scope
from mmcoord.stages.context import Context
from mmcoord.stages.infer import InferStage
from mmcoord.store.database import Database
from tests.api.conftest import make_token
from tests.api.drawing import Drawn, drawing_app
from tests.api.test_runs import brought, submit, work
from tests.making import make_context

ROUTES = {
    "/api/v1/runs/{run_key}": "",
    "/api/v1/runs/{run_key}/events": "",
    "/api/v1/runs/{run_key}/samples.npz": "",
    "/api/v1/runs/{run_key}/samples.arrow": "",
    "/api/v1/runs/{run_key}/magnitudes": "?bands=lsst:r&step=5",
    "/api/v1/runs/{run_key}/corner.{fmt}": "?parameters=mag_at_event,slope",
    "/api/v1/runs/{run_key}/light-curve.{fmt}": "",
}
"""Path -> a query that makes sense."""
EVERYBODY = ("nobody", "own", "foreign", "blind")
MISSING = "0" * 64


@pytest.fixture
def ctx(database: Database, tmp_path: Path) -> Context:
    return make_context(database, tmp_path / "out")


@pytest.fixture
def client(ctx: Context) -> Iterator[TestClient]:
    with TestClient(drawing_app(ctx)) as found:
        yield found


def address(route: str, key: str) -> str:
    return route.format(run_key=key, fmt="svg") + ROUTES[route]


def test_no_route_about_a_run_is_forgotten_here(client: TestClient) -> None:
    document = client.get("/api/v1/openapi.json").json()
    about_a_run = {path for path in document["paths"] if "{run_key}" in path}
    assert about_a_run == set(ROUTES)


def test_who_may_see_what(ctx: Context, client: TestClient) -> None:
    """Foreign looks like missing, to the last header; with HEAD and with a validator too."""
    who = {
        "nobody": {},
        "own": make_token(ctx.database, "own"),
        "foreign": make_token(ctx.database, "foreign"),
        "blind": make_token(ctx.database, "own", Scope.RUN),
    }
    body = brought(models=["steady"])
    private = submit(client, who["own"], body)["run_key"]
    public = submit(client, who["own"], {**body, "private": False})["run_key"]
    assert private != public
    work(ctx, InferStage(Drawn()))
    again = {name: submit(client, who[name], body) for name in ("own", "blind", "foreign")}
    assert again["own"]["summary"]["model"] == "steady"
    assert (again["blind"]["how"], again["blind"]["summary"]) == ("cached", None)
    assert (again["foreign"]["how"], again["foreign"]["summary"]) == ("executed", None)
    for route in ROUTES:
        tags = set()
        for name in EVERYBODY:
            answer = client.get(address(route, public), headers=who[name])
            assert answer.status_code == 200, (name, route, answer.text)
            tags.add(answer.headers.get("ETag"))
        assert len(tags) == 1  # the answer does not depend on who asks
        own = client.get(address(route, private), headers=who["own"])
        assert own.status_code == 200, (route, own.text)
        assert "public" not in own.headers["Cache-Control"]
        for name in ("nobody", "foreign", "blind"):
            headers = {**who[name], "If-None-Match": own.headers.get("ETag", f'W/"{private}"')}
            for method in ("GET", "HEAD"):
                hidden = client.request(method, address(route, private), headers=headers)
                missing = client.request(method, address(route, MISSING), headers=headers)
                assert hidden.status_code == missing.status_code == 404, (name, route)
                assert hidden.text == missing.text.replace(MISSING, private)
                assert dict(hidden.headers) == dict(missing.headers)


def test_what_was_made_for_its_group_is_not_given_to_others_from_memory(
    ctx: Context, client: TestClient
) -> None:
    own, foreign = make_token(ctx.database, "own"), make_token(ctx.database, "foreign")
    key = submit(client, own, brought(models=["steady"]))["run_key"]
    work(ctx, InferStage(Drawn()))
    made = address("/api/v1/runs/{run_key}/magnitudes", key)
    assert client.get(made, headers=own).status_code == 200
    assert client.get(made, headers=foreign).status_code == 404
    assert client.get(made, headers=own).status_code == 200
