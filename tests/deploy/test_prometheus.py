"""The figures of ``/metrics``, the alert rules and the board, in a real Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from listeners.settings import ListenerState, ListenerStatus
from mmcoord.api.app import create_app
from mmcoord.config import Settings, SinkSettings
from mmcoord.store.database import Database
from mmcoord.wiring import status_json
from tests.deploy.running import ROOT, free_port, until
from tests.system import missing
from tests.web import sample

PROMETHEUS = ROOT / "deploy" / "prometheus"
BOARD = ROOT / "deploy" / "grafana" / "mmcoord.json"
GCN = ListenerStatus(
    "gcn", "igwn", ListenerState.UNREACHABLE, received=17, lag=3, missed=2, rebuilds=1,
    missing_topics=("igwn.gwalert",), last_received_at=sample.HEARD, last_sent_at=sample.HEARD,
)  # fmt: skip
ZTF = replace(GCN, name="ztf", source="ztf", state=ListenerState.PAUSED, lag=None)


def program(name: str) -> str:
    found = shutil.which(name)
    return found or missing(f"{name} (Debian: prometheus)")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = sample.open_store(tmp_path_factory.mktemp("store"))
    sample.fill(database)
    sample.add(
        database,
        *(
            sample.run_row(
                run_key=f"run{n}",
                object_id=f"o{n}",
                cpu_s=2.0,
                started_at=sample.HEARD,
                finished_at=sample.HEARD + timedelta(seconds=n),
            )
            for n in range(1, 22)
        ),
        sample.alarm_row("listener gcn", "page"),
        sample.alarm_row("disk", "warn"),
        sample.alarm_row("disk", "warn", cleared_at=sample.HEARD),
    )
    yield database
    database.close()


def application(database: Database) -> FastAPI:
    settings = Settings(sinks={"tom": SinkSettings("tom")})
    return create_app(
        database,
        settings,
        lambda: [status_json(GCN), status_json(ZTF)],
        watched_at=lambda: sample.HEARD,
    )


@pytest.fixture(scope="module")
def page(database: Database) -> str:
    """The exposition."""
    with TestClient(application(database)) as client:
        answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.text


@pytest.fixture(scope="module")
def ask(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Asks a Prometheus that has scraped the application: (path, parameters) -> data."""
    from tests.web.server import serving

    with serving(application(database)) as url:
        folder = tmp_path_factory.mktemp("prometheus")
        target = url.removeprefix("http://")
        config = (PROMETHEUS / "prometheus.yml").read_text()
        config = config.replace("127.0.0.1:8765", target).replace("15s", "1s")
        (folder / "prometheus.yml").write_text(config)
        shutil.copy(PROMETHEUS / "alerts.yml", folder)
        with prometheus(folder) as api:
            until(lambda: query(api, 'up{job="mmcoord"} == 1') and query(api, "ALERTS"))
            yield lambda path, **parameters: get(api, path, **parameters)


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    port = free_port()
    server = subprocess.Popen(
        [
            program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}/api/v1/"
    finally:
        server.terminate()
        server.wait(timeout=30)


def get(api: str, path: str, **parameters: str) -> Any:
    answer = httpx.get(api + path, params=parameters, timeout=30).json()
    assert answer["status"] == "success", (parameters, answer)
    return answer["data"]


def query(api: str, expression: str) -> list[Any]:
    """What an expression gives; nothing while the server is not up (refused, then 503)."""
    try:
        ready = httpx.get(api.replace("/api/v1/", "/-/ready"), timeout=30).is_success
    except httpx.TransportError:
        return []
    found: list[Any] = get(api, "query", query=expression)["result"] if ready else []
    return found


def expressions() -> list[str]:
    board = json.loads(BOARD.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def value(ask: Any, expression: str) -> float:
    (one,) = ask("query", query=expression)["result"]
    return float(one["value"][1])


# -- what is said ------------------------------------------------------------------------


def test_promtool_finds_nothing_to_mend_in_the_metrics(page: str) -> None:
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=page, text=True, capture_output=True
    )
    ours = [line for line in checked.stderr.splitlines() if line.startswith("mmcoord")]
    assert (checked.returncode, ours) == (0, []), checked.stderr


def test_every_metric_is_documented_and_every_documented_one_is_there(page: str) -> None:
    documented = set(re.findall(r"^\| `(mmcoord_\w+)`", read_docs(), re.MULTILINE))
    there = set(re.findall(r"^# TYPE (mmcoord_\w+)", page, re.MULTILINE))
    assert there == documented


def read_docs() -> str:
    return (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_nothing_on_the_board_or_in_the_rules_asks_for_a_metric_that_is_not_there(
    page: str,
) -> None:
    asked = "\n".join(expressions()) + (PROMETHEUS / "alerts.yml").read_text()
    there = set(re.findall(r"^# TYPE (\w+)", page, re.MULTILINE))
    names = re.findall(r"\b(mmcoord_\w+|process_\w+)", asked)
    assert len(names) > 30
    assert set(names) <= there


def test_a_store_that_cannot_be_read_is_a_metric_and_no_failed_scrape(tmp_path: Path) -> None:
    database = sample.open_store(tmp_path)
    with database.write() as session:
        session.execute(text("DROP TABLE run"))
    with TestClient(application(database)) as client:
        answer = client.get("/metrics")
    database.close()
    assert answer.status_code == 200
    values = {
        one.name: one.value
        for family in text_string_to_metric_families(answer.text)
        for one in family.samples
    }
    assert values["mmcoord_store_readable"] == 0
    assert values["mmcoord_listener_received_total"] == 17  # what does not need the store
    assert "mmcoord_ledger_pending" not in values


# -- in Prometheus -----------------------------------------------------------------------


def test_prometheus_reads_the_figures_that_are_in_the_store(ask: Any) -> None:
    # The sample says in its ledger, its rows and its statuses what there is.
    expected = {
        'mmcoord_ledger_received_total{stage="intake"}': 3,
        'mmcoord_ledger_dead_total{stage="intake"}': 1,
        'mmcoord_ledger_pending{stage="infer"}': 1,
        "sum(abs(mmcoord_ledger_lost))": 0,
        'mmcoord_dead_letters{stage="intake"}': 1,
        'mmcoord_deliveries{sink="folder", state="sent"}': 1,
        'mmcoord_deliveries{sink="folder", state="refused"}': 1,
        'mmcoord_deliveries{sink="tom", state="failed"}': 0,
        'mmcoord_listener_lag_messages{listener="gcn"}': 3,
        'mmcoord_listener_state{listener="gcn", state="unreachable"}': 1,
        'sum(mmcoord_listener_state{listener="ztf"})': 1,
        'mmcoord_listener_missing_topics{listener="gcn"}': 1,
        'mmcoord_listener_last_received_timestamp_seconds{listener="gcn"}': (
            sample.HEARD.timestamp()
        ),
        'mmcoord_alarms_standing{kind="disk", severity="warn"}': 1,
        'mmcoord_alarms_standing{kind="listener", severity="page"}': 1,
        'mmcoord_stage_latency_recent_seconds{stage="infer", statistic="max"}': 17.2,
        'mmcoord_runs{state="queued"}': 0,
        'mmcoord_runs{state="resting"}': 0,
        'mmcoord_run_duration_recent_seconds{statistic="median"}': 11,
        'mmcoord_run_duration_recent_seconds{statistic="p95"}': 20,
        'mmcoord_run_duration_recent_seconds{statistic="max"}': 21,
        'mmcoord_events{state="active", practice="true"}': 1,
        "mmcoord_watchdog_last_look_timestamp_seconds": sample.HEARD.timestamp(),
    }
    assert {e: value(ask, e) for e in expected} == pytest.approx(expected)
    assert ask("query", query='mmcoord_listener_lag_messages{listener="ztf"}')["result"] == []


def test_prometheus_evaluates_every_rule_and_raises_what_the_sample_is_about(ask: Any) -> None:
    (group,) = ask("rules")["groups"]
    until(lambda: all(r["health"] == "ok" for r in ask("rules")["groups"][0]["rules"]))
    assert len(group["rules"]) == (PROMETHEUS / "alerts.yml").read_text().count("- alert:")
    raised = {alert["labels"]["alertname"] for alert in ask("alerts")["alerts"]}
    assert {"MmcoordAlarm", "MmcoordListenerNotWorking"} <= raised
    assert not {"MmcoordDown", "MmcoordStoreUnreadable", "MmcoordLedgerLost"} & raised


@pytest.mark.parametrize("expression", expressions())
def test_prometheus_answers_every_panel_of_the_board(ask: Any, expression: str) -> None:
    ask("query", query=expression)


def test_the_rules_raise_what_they_should_and_nothing_else() -> None:
    for command in (
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ):
        done = subprocess.run(
            [program("promtool"), *command], cwd=PROMETHEUS, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_a_test_of_its_own() -> None:
    rules = re.findall(r"- alert: (\w+)", (PROMETHEUS / "alerts.yml").read_text())
    tested = re.findall(r"alertname: (\w+)", (PROMETHEUS / "alerts_test.yml").read_text())
    assert set(rules) == set(tested)


def test_alerts_send_readers_to_headings_that_exist() -> None:
    headings = re.findall(r"^#+ (\w+)$", (ROOT / "docs" / "alarms.md").read_text(), re.MULTILINE)
    for heading in re.findall(r"docs/alarms\.md#(\w+)", (PROMETHEUS / "alerts.yml").read_text()):
        assert heading in headings
