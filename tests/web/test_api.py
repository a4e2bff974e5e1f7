"""The JSON API: shapes, paging, and errors that are JSON too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from mmcoord.api.app import create_app
from mmcoord.config import Settings
from mmcoord.store.database import Database
from mmcoord.store.tables import EventRow, LedgerRow, RunRow
from tests.web import sample
from tests.web.sample import EVENT, FIRST, HEARD, RUN


def get(client: TestClient, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_health_is_ok_on_an_empty_store(client: TestClient) -> None:
    health = get(client, "/healthz")
    assert health["status"] == "ok"
    assert health["ledger_balanced"] is True
    assert health["sources"] == []
    assert health["version"]


def test_health_is_degraded_by_a_lost_count_and_by_a_silent_source(database: Database) -> None:
    sources = [
        {"name": "gcn", "state": "running", "missing_topics": ()},
        {"name": "scimma", "state": "waiting", "last_error": "no answer", "missing_topics": ()},
        {"name": "kafka", "state": "running", "missing_topics": ("lsst.alerts",)},
    ]
    sample.add(database, LedgerRow(stage="plan", received=1, processed=2, dead=0))
    client = TestClient(create_app(database, Settings(), lambda: sources))
    health = get(client, "/healthz")
    assert health["status"] == "degraded"
    assert health["ledger_balanced"] is False
    assert health["reasons"] == [
        "stage plan: 1 more served than received",
        "source scimma: waiting (no answer)",
        "source kafka: topics missing: lsst.alerts",
    ]


def test_an_event_has_its_map_and_its_revisions_in_order(
    client: TestClient, filled: Database
) -> None:
    document = get(client, f"/api/v1/events/{EVENT}")
    assert document["event"]["area_90_deg2"] == 31.0
    assert document["event"]["candidates_matched"] == 40
    assert document["event"]["first_target"] == FIRST
    assert document["localization"]["outlines"]["0.9"]
    assert "fits" not in document["localization"]
    assert [r["alert_type"] for r in document["revisions"]] == ["PRELIMINARY", "INITIAL"]
    assert [r["area_90_deg2"] for r in document["revisions"]] == [60.0, 31.0]


def test_revisions_of_equal_time_are_ordered_by_alert_type(
    client: TestClient, database: Database
) -> None:
    when = HEARD
    kinds = ["UPDATE", "EARLYWARNING", "RETRACTION", "INITIAL", "PRELIMINARY"]
    sample.add(
        database,
        sample.event_row(EVENT),
        *(sample.alert_row(k, kind, time_created=when) for k, kind in enumerate(kinds, start=1)),
    )
    revisions = get(client, f"/api/v1/events/{EVENT}")["revisions"]
    assert [r["alert_type"] for r in revisions] == [
        "EARLYWARNING", "PRELIMINARY", "INITIAL", "UPDATE", "RETRACTION",
    ]  # fmt: skip


def test_plan_by_revision(client: TestClient, filled: Database) -> None:
    newest = get(client, f"/api/v1/events/{EVENT}/plan")
    assert newest["plan"]["revision"] == 2
    assert [row["object_id"] for row in newest["rows"]] == [FIRST, "SN27bbb", "SN27ccc"]
    assert newest["rows"][0]["reasons"]["kilonova"] == f"why kilonova of {FIRST}"
    older = get(client, f"/api/v1/events/{EVENT}/plan?revision=1")
    assert [row["object_id"] for row in older["rows"]] == ["SN27bbb", FIRST]
    assert client.get(f"/api/v1/events/{EVENT}/plan?revision=9").status_code == 404


def test_story_is_newest_first_and_pages_back(client: TestClient, filled: Database) -> None:
    document = get(client, f"/api/v1/events/{EVENT}/story?limit=2")
    assert [entry["what"] for entry in document["entries"]] == ["sent", "planned"]
    last = document["entries"][-1]["id"]
    older = get(client, f"/api/v1/events/{EVENT}/story?limit=2&before={last}")
    assert [entry["what"] for entry in older["entries"]] == ["inferred", "screened"]
    milestones = {m["what"]: m for m in document["milestones"]}
    assert milestones["inferred"]["latency_max_s"] == 17.2


def test_candidates_page_through_all_without_gap_or_repeat(
    client: TestClient, filled: Database
) -> None:
    seen: list[str] = []
    for offset in range(0, 45, 15):
        page = get(client, f"/api/v1/events/{EVENT}/candidates?limit=15&offset={offset}")
        assert page["total"] == 40
        seen += [item["object_id"] for item in page["items"]]
    assert seen[:3] == [FIRST, "SN27bbb", "SN27ccc"]
    assert sorted(seen) == sorted(sample.names(40))


def test_a_candidate_of_the_plan_has_the_plans_probability(
    client: TestClient, filled: Database
) -> None:
    items = get(client, f"/api/v1/events/{EVENT}/candidates?limit=5")["items"]
    assert items[0]["p_kilonova"] == 0.57  # of the plan's row, not the screen's 0.97
    assert items[3]["p_kilonova"] == pytest.approx(0.9 / 3.5)
    assert items[3]["rank"] is None


def test_candidates_of_an_older_map_are_not_listed(client: TestClient, filled: Database) -> None:
    with filled.write() as session:
        event = session.get(EventRow, EVENT)
        assert event is not None
        event.localization_id = "beef" * 16
    assert get(client, f"/api/v1/events/{EVENT}/candidates")["total"] == 0
    assert get(client, f"/api/v1/events/{EVENT}")["event"]["candidates_matched"] == 0


def test_object_with_photometry_matches_and_runs(client: TestClient, filled: Database) -> None:
    document = get(client, f"/api/v1/objects/{FIRST}")
    assert len(document["photometry"]) == 35
    times = [point["obs_mjd_tai"] for point in document["photometry"]]
    assert times == sorted(times)
    assert document["matches"][0]["event_id"] == EVENT
    assert document["runs"][0]["run_key"] == RUN
    assert "samples" not in document["runs"][0]


def test_photometry_before_its_candidate_is_shown(client: TestClient, database: Database) -> None:
    sample.add(database, *sample.photometry("EARLY")[:2])
    document = get(client, "/api/v1/objects/EARLY")
    assert document["object"] is None
    assert len(document["photometry"]) == 2


def test_run_has_summary_and_light_curve(client: TestClient, filled: Database) -> None:
    document = get(client, f"/api/v1/runs/{RUN}")
    assert document["summary"]["derived"]["ejecta_mass_total_msun"]["median"] == 0.062
    assert set(document["light_curve"]["lsst:r"]) == {"mjd_tai", "q05", "q50", "q95"}
    assert document["coalesced"] == 3


def test_numbers_that_json_has_not_become_null(client: TestClient, database: Database) -> None:
    sample.add(database, RunRow(run_key="k", event_id="e", object_id="o", state="done",
                                created_at=HEARD, summary={"ess": float("nan")}))  # fmt: skip
    assert get(client, "/api/v1/runs/k")["summary"] == {"ess": None}


def test_the_ledger_adds_up_stage_by_stage(client: TestClient, filled: Database) -> None:
    document = get(client, "/api/v1/ledger")
    assert document["balanced"] is True
    for line in document["stages"]:
        assert line["received"] == line["processed"] + line["dead"] + line["pending"]
    infer = next(line for line in document["stages"] if line["stage"] == "infer")
    assert infer["pending"] == 1
    assert infer["oldest_pending_at"] is not None


def test_deliveries_filter_by_state_and_event(client: TestClient, filled: Database) -> None:
    assert get(client, "/api/v1/deliveries")["total"] == 2
    refused = get(client, f"/api/v1/deliveries?state=refused&event_id={EVENT}")
    assert [item["target"] for item in refused["items"]] == ["SN27bbb"]
    assert get(client, "/api/v1/deliveries?event_id=other")["items"] == []


def test_dead_letters_and_notices(client: TestClient, filled: Database) -> None:
    letters = get(client, "/api/v1/dead-letters")
    assert letters["total"] == 1
    notice = get(client, f"/api/v1/notices/{letters['items'][0]['notice_id']}")
    assert notice["notice"]["state"] == "dead"
    assert notice["dead_letters"][0]["reason"] == "ra: 400.0 is not in"


def test_raw_bytes_come_back_exactly_and_never_as_a_page(
    client: TestClient, database: Database
) -> None:
    payload = b"<html><script>alert(1)</script>\x00\xff"
    sample.add(database, sample.notice_row(1, payload))
    answer = client.get("/api/v1/notices/1/raw")
    assert answer.content == payload
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_an_alarm_that_wakes_people_degrades_the_health(
    client: TestClient, filled: Database
) -> None:
    sample.add(filled, sample.alarm_row("disk low", "warn"))
    health = get(client, "/healthz")
    assert health["status"] == "ok"
    assert [alarm["key"] for alarm in health["alarms"]] == ["disk low"]
    sample.add(filled, sample.alarm_row("mock"), sample.alarm_row("old", cleared_at=HEARD))
    health = get(client, "/healthz")
    assert health["status"] == "degraded"
    assert [alarm["key"] for alarm in health["alarms"]] == ["mock", "disk low"]
    assert {"status", "ledger_balanced", "sources", "version"} <= set(health)


def test_a_watchdog_that_has_stopped_looking_degrades_the_health(filled: Database) -> None:
    def status(age_s: float) -> str:
        then = datetime.now(UTC) - timedelta(seconds=age_s)
        app = create_app(filled, Settings(), list, watched_at=lambda: then)
        return str(TestClient(app).get("/healthz").json()["status"])

    assert status(1.0) == "ok"
    assert status(600.0) == "degraded"


def test_alarms_standing_and_all(client: TestClient, filled: Database) -> None:
    sample.add(filled, sample.alarm_row("mock"), sample.alarm_row("old", cleared_at=HEARD))
    assert [a["key"] for a in get(client, "/api/v1/alarms")["items"]] == ["mock"]
    document = get(client, "/api/v1/alarms?all=true")
    assert (document["total"], [a["key"] for a in document["items"]]) == (2, ["old", "mock"])


def test_notices_go_on_from_an_id(client: TestClient, filled: Database) -> None:
    document = get(client, "/api/v1/notices?limit=2")
    assert [item["id"] for item in document["items"]] == [3, 2]
    document = get(client, f"/api/v1/notices?limit=2&before={document['before']}")
    assert ([item["id"] for item in document["items"]], document["before"]) == ([1], None)
    assert [i["id"] for i in get(client, "/api/v1/notices?state=dead")["items"]] == [3]
    assert client.get("/api/v1/notices?state=lost").status_code == 422


@pytest.mark.parametrize(
    "path",
    ["events/none", "events/none/plan", "events/none/story", "events/none/candidates",
     "objects/none", "runs/none", "notices/99", "notices/99/raw", "nothing"],
)  # fmt: skip
def test_what_is_not_there_is_404_in_json(client: TestClient, path: str) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 404
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    ["events?limit=0", "events?limit=501", "events?offset=-1", "events?limit=x",
     f"notices/{2**63}", "notices/0", "notices/x", f"events/{EVENT}/plan?revision=0",
     f"events/{EVENT}/story?before={10**30}", "dead-letters?limit=100000"],
)  # fmt: skip
def test_numbers_out_of_bounds_are_refused(client: TestClient, filled: Database, path: str) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 422
    assert answer.json()["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_written(client: TestClient, filled: Database, method: str) -> None:
    for path in ("/api/v1/events", f"/api/v1/events/{EVENT}", "/", "/health", "/healthz"):
        assert client.request(method, path).status_code == 405


def test_the_description_types_every_answer_and_publishes_no_bytes(client: TestClient) -> None:
    document = get(client, "/api/v1/openapi.json")
    workers = {path for path in document["paths"] if path.startswith("/api/v1/worker/")}
    assert all(set(document["paths"][path]) == {"post"} for path in workers)
    paths = {p: what for p, what in document["paths"].items() if p not in workers}
    assert {path.removeprefix("/api/v1") for path in paths} == {
        "/healthz", "/events/stream", "/events", "/events/{event_id}", "/events/{event_id}/plan",
        "/events/{event_id}/story", "/events/{event_id}/candidates", "/objects/{object_id}",
        "/runs/{run_key}", "/ledger", "/dead-letters", "/deliveries", "/notices/{notice_id}",
        "/notices/{notice_id}/raw", "/runs", "/runs/{run_key}/events",
        "/runs/{run_key}/samples.npz", "/usage", "/notices", "/alarms",
        "/runs/{run_key}/samples.arrow", "/runs/{run_key}/magnitudes",
        "/runs/{run_key}/corner.{fmt}", "/runs/{run_key}/light-curve.{fmt}",
        "/models", "/models/{model}", "/models/{model}/retire", "/claims", "/approvals",
    }  # fmt: skip
    written = {
        "/runs": {"post"}, "/models": {"get", "post"}, "/models/{model}/retire": {"post"},
        "/claims": {"get", "post"}, "/approvals": {"get", "post"},
    }  # fmt: skip
    not_json = ("/raw", "/stream", "/events", ".npz", ".arrow", ".{fmt}", "/magnitudes")
    for path, operations in paths.items():
        assert set(operations) == written.get(path.removeprefix("/api/v1"), {"get"}), path
        if "get" not in operations or (path.endswith(not_json) and path != "/api/v1/events"):
            continue
        schema = operations["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert "$ref" in schema.get("items", schema), path
    columns = {name for kind, m in document["components"]["schemas"].items()
               if kind not in ("Lease", "Brought")  # what workers are given and bring
               for name in m.get("properties", {})}  # fmt: skip
    assert not columns & {"samples", "fits", "lease_owner", "job", "content_sha256", "extra"}


def test_a_page_of_events_reads_no_large_columns(
    client: TestClient, filled: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "sqlalchemy.engine")
    for path in ("/", "/health", "/api/v1/events", f"/api/v1/events/{EVENT}"):
        assert client.get(path).status_code == 200
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "FROM event" in said
    for column in ("localization.fits", "run.samples", "notice.payload"):
        assert column not in said
