"""Every example of docs/api.md is asked, and every route has one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import skymaps
from mmcoord.access import Scope
from mmcoord.stages.context import Context
from mmcoord.stages.infer import InferStage
from tests.api.conftest import make_token
from tests.api.drawing import Drawn, drawing_app
from tests.api.test_runs import FADING, OBJECT, submit, work
from tests.making import (
    candidate_row,
    gaussian_map,
    lvk_notice,
    make_context,
    photometry_row,
    send,
)
from tests.stores import migrated
from tests.web.server import serving

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```http\n(.*?)```", PAGE, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def ctx(sqlite_url: str, tmp_path: Path) -> Iterator[Context]:
    database = migrated(sqlite_url)
    ctx = make_context(database, tmp_path / "out")
    send(
        ctx,
        [
            ("igwn", lvk_notice(skymap=skymaps.to_fits_bytes(gaussian_map()))),
            ("table_candidates", candidate_row(OBJECT, 150.0, -20.0)),
            *(("table_photometry", photometry_row(OBJECT, *point)) for point in FADING),
        ],
    )
    work(ctx, InferStage(Drawn()))
    yield ctx
    database.close()


def asked(example: str) -> tuple[str, str, bool, Any]:
    """(method, path, whether with a token, body)."""
    request = example.split("HTTP/1.1")[0]
    line, _, rest = request.partition("\n")
    method, path = line.split()
    _, _, body = rest.partition("\n\n")
    return method, path, "Authorization" in rest, json.loads(body) if body.strip() else None


def has(answer: Any, documented: Any) -> None:
    """What is documented is there; an empty list or object stands for any, ``RUN`` for a key."""
    if isinstance(documented, dict):
        assert isinstance(answer, dict)
        for key, value in documented.items():
            assert key in answer
            has(answer[key], value)
    elif isinstance(documented, list):
        assert isinstance(answer, list)
        for one, other in zip(documented, answer, strict=False):
            has(other, one)
        assert len(answer) >= len(documented)
    elif isinstance(documented, str) and documented == "PARAMETERS":
        assert answer.startswith(documented)
    else:
        assert answer == documented


@pytest.mark.usefixtures("sandbox_works")
def test_every_example_is_answered_as_documented_and_every_route_has_one(ctx: Context) -> None:
    who = make_token(ctx.database, "fast", *Scope)
    seen = set()
    with TestClient(drawing_app(ctx)) as client:
        routes = client.get("/api/v1/openapi.json").json()["paths"]
        key = submit(client, who, asked(EXAMPLES[0])[3])["run_key"]
        work(ctx, InferStage(Drawn()))
        for text in EXAMPLES:
            example = text.replace("RUN", key)
            method, path, with_token, body = asked(example)
            if method == "POST" and path == "/api/v1/models":  # the check's charge would wait
                usage = client.get("/api/v1/usage", headers=who).json()
                assert usage["waiting"] == 0
            answer = client.request(method, path, headers=who if with_token else {}, json=body)
            status, _, documented = example.split("HTTP/1.1 ")[1].partition("\n")
            assert answer.status_code == int(status), (path, answer.text)
            if documented.startswith("event:"):
                assert documented.strip() in answer.text
            elif documented.strip():
                has(answer.json(), json.loads(documented))
            seen |= {
                (method.lower(), route)
                for route in routes
                if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route), path.split("?")[0])
            }
    offered = {(m, route) for route, methods in routes.items() for m in methods}
    # What `mmcoord worker` speaks is in a table; tests/api/test_worker_routes.py asks it.
    public = {one for one in offered if not one[1].startswith("/api/v1/worker/")}
    assert {one for one in public if one[1].startswith("/api/")} <= seen


def test_the_python_example_runs(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    who = make_token(ctx.database, "fast")
    app = drawing_app(ctx)
    (example,) = PYTHON
    with TestClient(app) as client:  # the example's own question, answered before it is asked
        submit(client, who, asked(EXAMPLES[0])[3])
        work(ctx, InferStage(Drawn()))
    with serving(app) as url:
        monkeypatch.setenv("MMCOORD_URL", url)
        monkeypatch.setenv("MMCOORD_TOKEN", who["Authorization"].removeprefix("Bearer "))
        monkeypatch.chdir(tmp_path)
        exec(compile(example, "docs/api.md", "exec"), {})
    assert (tmp_path / "corner.png").read_bytes().startswith(b"\x89PNG")


def test_every_route_says_what_it_does_and_how_its_errors_look(ctx: Context) -> None:
    with TestClient(drawing_app(ctx)) as client:
        document = client.get("/api/v1/openapi.json").json()
    for route, methods in document["paths"].items():
        for method, about in methods.items():
            assert about["description"], route
            for status, response in about["responses"].items():
                if route.startswith("/api/") and int(status) >= 400:
                    (content,) = response["content"].values()
                    name = content["schema"]["$ref"].rsplit("/", 1)[1]
                    assert name == "Error", (method, route, status)
