"""What a worker may ask, see and bring; and what a lying one cannot."""

from __future__ import annotations

import base64
import io
import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text, update

from mmcoord import leases
from mmcoord.access import Scope
from mmcoord.inference.engine import run
from mmcoord.inference.job import Result
from mmcoord.stages.answers import BadAnswer, result_from_json, result_to_json
from mmcoord.stages.jobs import job_from_json, proposal_from_json
from mmcoord.store.database import Database
from mmcoord.store.tables_attempts import RunAttemptRow
from mmcoord.store.tables_lineage import LineageRow
from tests.api.conftest import make_token
from tests.inferring import QUICK, ask, attempts_of, faults_of, run_of

API = "/api/v1/worker"
Headers = dict[str, str]


@pytest.fixture(scope="module")
def answer() -> Result:
    """What the engine says of the job."""
    result = run(QUICK)
    result.summary["cpu_s"] = 1.0
    return result


@pytest.fixture
def who(client: TestClient, database: Database) -> Headers:
    return make_token(database, "site", Scope.WORKER)


def post(client: TestClient, who: Headers, what: str, **body: Any) -> Any:
    return client.post(f"{API}/{what}", headers=who, json=body)


def lease(client: TestClient, who: Headers, **more: Any) -> dict[str, Any]:
    found = post(client, who, "lease", name="w1", **more)
    assert found.status_code == 200, found.text
    document: dict[str, Any] = found.json()
    return document


def held(found: dict[str, Any]) -> dict[str, Any]:
    return {"run_key": found["run_key"], "lease": found["lease"]}


def age_attempts(database: Database, seconds: float) -> None:
    """As if the leases had been taken so long ago."""
    taken = datetime.now(UTC) - timedelta(seconds=seconds)
    with database.write() as session:
        session.execute(update(RunAttemptRow).values(taken_at=taken))


def test_a_worker_takes_a_run_keeps_it_and_brings_its_result(
    client: TestClient, database: Database, who: Headers, answer: Result
) -> None:
    assert post(client, who, "lease", name="w1").status_code == 204
    key = ask(database, QUICK, "us", "them")
    found = lease(client, who, cores=2)
    assert job_from_json(found["job"]) == QUICK
    assert post(client, who, "lease", name="w2").status_code == 204  # nobody else gets it
    assert post(client, who, "renew", **held(found)).json() == {"held": True}
    age_attempts(database, 10.0)
    body = {**result_to_json(answer), **held(found), "cpu_s": 1.0}
    assert post(client, who, "result", **body).json() == {"accepted": True}
    assert post(client, who, "result", **body).json() == {"accepted": False}
    row = run_of(database, key)
    assert (row.state, row.samples, row.cpu_s) == ("done", answer.samples, 1.0)
    assert faults_of(database, [key]) == []
    assert post(client, who, "renew", **held(found)).json() == {"held": False}


def test_what_a_worker_found_is_what_the_next_run_begins_with(
    client: TestClient, database: Database, who: Headers, answer: Result
) -> None:
    key = ask(database, QUICK)
    found = lease(client, who)
    body = {**result_to_json(answer), **held(found), "cpu_s": 1.0}
    assert post(client, who, "result", **body).json() == {"accepted": True}
    with database.read() as session:
        kept = session.get_one(LineageRow, key).proposals
    assert answer.proposals
    assert tuple(proposal_from_json(p) for p in kept) == answer.proposals


def test_a_worker_of_before_brings_no_proposals(answer: Result) -> None:
    document = json.loads(json.dumps(result_to_json(answer)))
    del document["proposals"]
    assert result_from_json(document, answer.run_key, QUICK) == replace(answer, proposals=())


@pytest.mark.parametrize(("cores", "said", "counted"), [(1, 1e9, 10.0), (2, 1e9, 20.0), (4, 3, 3)])
def test_no_more_is_counted_than_its_cores_over_the_time(
    client: TestClient,
    database: Database,
    who: Headers,
    answer: Result,
    cores: int,
    said: float,
    counted: float,
) -> None:
    key = ask(database, QUICK)
    found = lease(client, who, cores=cores)
    age_attempts(database, 10.0)
    body = {**result_to_json(answer), **held(found), "cpu_s": said}
    post(client, who, "result", **body)
    assert run_of(database, key).cpu_s == pytest.approx(counted, rel=0.2)


def test_what_is_private_goes_to_workers_of_its_group_alone(
    client: TestClient, database: Database, who: Headers
) -> None:
    theirs = ask(database, replace(QUICK, partition="secretive"))
    assert post(client, who, "lease", name="w1").status_code == 204
    own = ask(database, replace(QUICK, partition="site"))
    assert lease(client, who)["run_key"] == own
    assert run_of(database, theirs).state == "queued"
    insider = make_token(database, "secretive", Scope.WORKER)
    assert lease(client, insider)["run_key"] == theirs


@pytest.mark.parametrize("what", ["lease", "renew", "result", "failed", "return"])
def test_nobody_without_the_scope_gets_anywhere(
    client: TestClient, database: Database, what: str
) -> None:
    ask(database, QUICK)
    body = {"name": "w1"}
    assert client.post(f"{API}/{what}", json=body).status_code == 401
    reader = make_token(database, "site", Scope.READ, Scope.RUN)
    assert post(client, reader, what, **body).status_code == 403


def test_a_worker_s_token_opens_nothing_else(
    client: TestClient, database: Database, who: Headers
) -> None:
    key = ask(database, replace(QUICK, partition="site"))
    assert client.get("/api/v1/usage", headers=who).status_code == 403
    assert client.post("/api/v1/runs", headers=who, json={}).status_code == 403
    assert client.get(f"/api/v1/runs/{key}", headers=who).status_code == 404


def test_a_lease_holds_the_job_and_no_more_of_the_store(
    client: TestClient, database: Database, who: Headers
) -> None:
    ask(database, QUICK, "hidden-group")
    found = lease(client, who)
    assert set(found) == {"run_key", "lease", "lease_s", "job"}
    with database.read() as session:
        secrets = session.execute(text("SELECT secret_sha256 FROM token")).scalars().all()
    said = json.dumps(found)
    assert not any(secret in said for secret in secrets)
    assert "hidden-group" not in said


def test_a_lease_is_good_for_its_own_run_and_its_own_token_alone(
    client: TestClient, database: Database, who: Headers, answer: Result
) -> None:
    keys = [ask(database, replace(QUICK, seed=seed)) for seed in range(2)]
    other = make_token(database, "other", Scope.WORKER)
    mine, theirs = lease(client, who), lease(client, other)
    assert {mine["run_key"], theirs["run_key"]} == set(keys)
    crossed = [
        {"run_key": theirs["run_key"], "lease": mine["lease"]},
        held(theirs),
        {"run_key": "0" * 64, "lease": mine["lease"]},
        {"run_key": mine["run_key"], "lease": f"w1 {'0' * 32}"},
    ]
    full = {**result_to_json(answer), "cpu_s": 1.0}
    before = [run_of(database, key).model_dump() for key in keys]
    answers = []
    for body in crossed:
        assert post(client, who, "renew", **body).json() == {"held": False}
        answers += [
            post(client, who, "result", **{**full, **body}),
            post(client, who, "failed", **body, reason="no"),
            post(client, who, "return", **body),
        ]
    assert {(a.status_code, a.text) for a in answers} == {
        (409, '{"detail":"this lease is not yours"}')
    }
    assert [run_of(database, key).model_dump() for key in keys] == before


def test_a_run_that_is_given_back_is_as_if_never_taken(
    client: TestClient, database: Database, who: Headers
) -> None:
    key = ask(database, QUICK)
    for _ in range(5):
        found = lease(client, who)
        assert post(client, who, "return", **held(found)).status_code == 204
        assert post(client, who, "return", **held(found)).status_code == 204
    row = run_of(database, key)
    assert (row.state, row.attempts, row.lease_owner) == ("queued", 0, None)


def test_a_failure_names_the_worker_and_is_tried_a_few_times(
    client: TestClient, database: Database, who: Headers
) -> None:
    key = ask(database, QUICK)
    for _ in range(3):
        found = lease(client, who)
        post(client, who, "failed", **held(found), reason="BadModel: no\x1b[31m\n light")
    row = run_of(database, key)
    assert (row.state, row.error) == ("failed", "worker w1: BadModel: no [31m light")
    assert post(client, who, "lease", name="w1").status_code == 204


def test_what_has_expired_is_given_to_the_next_who_asks(
    client: TestClient, database: Database, who: Headers, answer: Result
) -> None:
    key = ask(database, QUICK)
    first = lease(client, who)
    with database.write() as session:
        row = leases.lock_run(session, key)
        assert row is not None
        row.lease_until = datetime.now(UTC) - timedelta(seconds=1)
    second = lease(client, who)
    assert second["lease"] != first["lease"]
    age_attempts(database, 10.0)
    late = {**result_to_json(answer), **held(first), "cpu_s": 2.0}
    assert post(client, who, "result", **late).json() == {"accepted": True}
    body = {**result_to_json(answer), **held(second), "cpu_s": 5.0}
    assert post(client, who, "result", **body).json() == {"accepted": False}
    assert run_of(database, key).cpu_s == 2.0
    assert faults_of(database, [key]) == []


# -- what cannot be a result ---------------------------------------------------------------


def npz(**columns: Any) -> str:
    buffer = io.BytesIO()
    np.savez(buffer, **columns)
    return base64.b64encode(buffer.getvalue()).decode()


def bomb() -> str:
    """A hundred megabytes in a hundred kilobytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("distance.npy", bytes(100_000_000))
    return base64.b64encode(buffer.getvalue()).decode()


def summary(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda d: d["summary"].update(changes)


def samples(value: str) -> Callable[[dict[str, Any]], None]:
    return lambda d: d.update(samples=value)


def columns(document: dict[str, Any]) -> dict[str, Any]:
    content = io.BytesIO(base64.b64decode(document["samples"]))
    with np.load(content, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def with_columns(change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    def spoil(document: dict[str, Any]) -> None:
        found = columns(document)
        name = next(iter(found))
        document["samples"] = npz(**{**found, name: change(found[name])})

    return spoil


def curve(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(document: dict[str, Any]) -> None:
        document["light_curve"]["lsst:g"][name][0] = value

    return spoil


def proposal(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda d: d["proposals"][0].update(changes)


def floats(*values: float) -> str:
    return base64.b64encode(np.array(values, dtype="<f4").tobytes()).decode()


LIES: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("another run", lambda d: d.update(run_key="0" * 64)),
    ("another run", summary(run_key="0" * 64)),
    ("seed", summary(seed=99)),
    ("finite", summary(log_evidence=math.nan)),
    ("finite", summary(ess=math.inf)),
    ("finite", summary(wall_s="long")),
    ("true or false", summary(converged="yes")),
    ("probability", summary(p_kilonova=1.5)),
    ("not asked for", summary(model="sn_ia")),
    ("comparison", summary(comparison="none")),
    ("interval", summary(parameters={"distance": 3.0})),
    ("order", summary(derived={"m": {"lo90": 2, "median": 1, "hi90": 3, "unit": ""}})),
    ("printable", summary(reason="\x1b[2J")),
    ("printable", summary(reason="x" * 5000)),
    ("too deep", summary(extra=[[[[[[[[1]]]]]]]])),
    ("too long", summary(extra=[0] * 20_000)),
    ("too large", summary(extra=10**40)),
    ("no object", lambda d: d.update(summary=[])),
    ("base64", samples("%%%")),
    ("npz", samples(base64.b64encode(b"PK nothing").decode())),
    ("npz", samples(base64.b64encode(b"\x80\x04K\x01.").decode())),
    ("bytes", samples(bomb())),
    ("parameters", samples(npz(other=np.zeros(3)))),
    ("finite", with_columns(lambda c: np.full_like(c, np.nan))),
    ("one length", with_columns(lambda c: c[:-1])),
    ("one length", with_columns(lambda c: c.astype(np.float32))),
    ("npz", with_columns(lambda c: np.array([{"a": 1}] * len(c), dtype=object))),
    ("band", lambda d: d["light_curve"].update({"<script>": {}})),
    ("q05", lambda d: d["light_curve"].update({"lsst:g": {"mjd_tai": []}})),
    ("one length", lambda d: d["light_curve"]["lsst:g"]["q50"].append(20.0)),
    ("order", curve("q05", 59.0)),
    ("finite", curve("q50", "bright")),
    ("one proposal", lambda d: d.update(proposals=d["proposals"] * 9)),
    ("no model", proposal(model="sn_ia")),
    ("axes", proposal(axes=[])),
    ("axes", proposal(axes=["\x1b[2J"])),
    ("too long", proposal(content="A" * 10**6)),
    ("base64|padding", proposal(content="%%%")),
    ("rows", proposal(content=floats(0.0, 0.0))),
    ("finite", proposal(axes=["a"], content=floats(0.0, math.nan, 1.0))),
    ("larger", proposal(axes=["a"], content=floats(0.0, 0.0, 1e30))),
    ("zero", proposal(axes=["a"], content=floats(0.0, 0.0, 0.0))),
]  # fmt: skip


@pytest.mark.parametrize(("told", "spoil"), LIES)
def test_what_the_engine_cannot_have_said_is_refused_with_its_place(
    answer: Result, told: str, spoil: Callable[[dict[str, Any]], None]
) -> None:
    document = json.loads(json.dumps(result_to_json(answer)))
    assert result_from_json(document, answer.run_key, QUICK) == answer
    spoil(document)
    with pytest.raises(BadAnswer, match=told):
        result_from_json(document, answer.run_key, QUICK)


def test_a_lie_is_an_attempt_that_failed_and_the_run_goes_on(
    client: TestClient, database: Database, who: Headers, answer: Result
) -> None:
    key = ask(database, QUICK)
    found = lease(client, who)
    body = {**result_to_json(answer), **held(found), "cpu_s": 1.0, "samples": "%%%"}
    refused = post(client, who, "result", **body)
    assert (refused.status_code, refused.json()["detail"]) == (422, "samples: not base64")
    row = run_of(database, key)
    assert (row.state, row.samples) == ("queued", None)
    (attempt,) = attempts_of(database, key)
    assert attempt.outcome == "worker w1: BadAnswer: samples: not base64"


def test_an_endless_body_is_not_read(client: TestClient, who: Headers) -> None:
    answer = client.post(f"{API}/result", headers=who, content=b" " * (17 * 2**20))
    assert answer.status_code == 413
    answer = client.post(f"{API}/lease", headers=who, content=b" " * (3 * 2**20))
    assert answer.status_code == 413
