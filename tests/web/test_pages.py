"""The pages on a small store: what must be found, and what must not get through."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import select

from mmcoord.api.app import create_app
from mmcoord.config import FetchSettings, Settings
from mmcoord.store import views_notices
from mmcoord.store.database import Database
from mmcoord.store.tables import (
    AlertNoticeRow,
    AlertRow,
    CandidateRow,
    CounterRow,
    DeadLetterRow,
    LedgerRow,
    MatchRow,
    PlanRevisionRow,
    RequestRow,
    RunRow,
    ScreeningRow,
)
from mmcoord.web import raw
from tests.web import sample
from tests.web.dom import Element, find, parse
from tests.web.sample import EVENT, FIRST, HEARD, MAP

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
PAGES = (
    *("/", "/events", "/runs", "/search?q=KN", f"/events/{EVENT}", f"/objects/{FIRST}", "/health"),
    *("/notices", "/notices/1", "/notices/3"),
)


def page(client: TestClient, path: str, status: int = 200) -> list[Element]:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    return parse(answer.text)


def main_text(elements: list[Element]) -> str:
    return " ".join(find(elements, "main")[0].text.split())


def test_an_empty_store_says_so_on_every_list(client: TestClient) -> None:
    assert "No event yet" in main_text(page(client, "/events"))
    health = main_text(page(client, "/health"))
    assert "Every count agrees" in health
    assert "No listener is configured" in health


def test_events_show_status_class_area_distance_and_first_target(
    client: TestClient, filled: Database
) -> None:
    row = find(page(client, "/events"), "tr", data_event=EVENT)[0]
    text = " ".join(row.text.split())
    for expected in (
        "active", "initial", "BNS 95", "31.0 deg²", "39.8 ± 7.6 Mpc", "40", FIRST,
        "2027-03-04 04:59:08", "Practice", "GRB270304A",
    ):  # fmt: skip
        assert expected in text


def test_a_real_event_carries_no_practice_mark(client: TestClient, filled: Database) -> None:
    sample.add(filled, sample.event_row("S270305c", is_practice=False))
    rows = {
        r.attributes["data-event"]: r
        for r in page(client, "/events")
        if "data-event" in r.attributes
    }
    assert "Practice" in rows[EVENT].text
    assert "Practice" not in rows["S270305c"].text
    assert not [e for e in page(client, "/events/S270305c") if "Practice" in e.text]
    assert "[practice]" in find(page(client, f"/events/{EVENT}"), "title")[0].text


def test_the_first_target_is_findable_with_every_reason(
    client: TestClient, filled: Database
) -> None:
    elements = page(client, f"/events/{EVENT}")
    rows = [e for e in elements if e.tag == "tr" and "data-rank" in e.attributes]
    assert [(r.attributes["data-rank"], r.attributes["data-object"]) for r in rows] == [
        ("1", FIRST),
        ("2", "SN27bbb"),
        ("3", "SN27ccc"),
    ]
    why = find(elements, "tr", data_key=f"why-{FIRST}")[0].text
    for name in sample.FACTORS:
        assert f"why {name} of {FIRST}" in why
    assert "not known" in find(elements, "tr", data_rank="3")[0].text
    assert "not tonight" in find(elements, "tr", data_rank="3")[0].text


def test_coordinates_are_given_in_both_forms_to_copy(client: TestClient, filled: Database) -> None:
    row = find(page(client, f"/events/{EVENT}"), "tr", data_rank="1")[0]
    ra, dec = sample.position(0)
    assert f"{ra:.6f} {dec:+.6f}" in row.text
    buttons = find(page(client, f"/events/{EVENT}"), "button", class_="copy")
    copied = {button.attributes["data-copy"] for button in buttons}
    assert {f"{ra:.6f} {dec:+.6f}", "13:11:50.40 -23:24:00.0"} <= copied
    assert all(button.attributes["aria-label"] for button in buttons)


def test_the_sky_map_draws_regions_and_marks_the_first_target(
    client: TestClient, filled: Database
) -> None:
    elements = page(client, f"/events/{EVENT}")
    regions = [e for e in elements if e.tag == "path" and "region" in e.attributes.get("class", "")]
    assert [r.attributes["class"] for r in regions] == ["region region-90", "region region-50"]
    assert regions[0].attributes["d"].count("M") == 2  # the 90 % region has an island
    first = find(elements, "a", data_dot=FIRST)[0]
    assert any(child.attributes.get("class") == "first" for child in first.children)
    dots = [e for e in elements if e.attributes.get("class", "").startswith("dot ")]
    ranked = [e for e in dots if e.tag == "circle" and "cx" in e.attributes]
    clouds = [e for e in elements if e.attributes.get("id", "").startswith("cloud-")]
    others = sum(e.attributes["d"].count("m") for e in clouds)
    used = {e.attributes["href"] for e in find(elements, "use")}
    assert used == {f"#{e.attributes['id']}" for e in clouds}
    assert len(ranked) > 0
    assert len(ranked) + others >= 35


def test_the_light_curve_has_points_limits_and_the_posterior(
    client: TestClient, filled: Database
) -> None:
    elements = page(client, f"/events/{EVENT}")
    bands = {e.attributes["data-band"]: e for e in elements if "data-band" in e.attributes}
    assert set(bands) == {"lsst:g", "lsst:r", "lsst:i", "lsst:z", "lsst:y", "2mass:ks"}
    assert "hidden" in bands["lsst:y"].attributes  # a prediction without data waits for a click
    shapes = find(elements, "path", class_="area")
    assert len(shapes) == 5
    assert len(find(elements, "path", class_="limit")) == 5
    assert len(find(elements, "circle", class_="point")) == 30
    assert find(elements, "path", class_="event-line")
    other = page(client, f"/events/{EVENT}?target=SN27bbb")
    assert "Light curve of SN27bbb" in find(other, "h2", id="light-curve")[0].text
    assert not find(other, "path", class_="area")


def test_the_story_has_every_step_with_its_latency(client: TestClient, filled: Database) -> None:
    elements = page(client, f"/events/{EVENT}")
    steps = [" ".join(e.text.split()) for e in find(elements, "li", class_="done")]
    assert steps == [
        "received 05:06:08 200 ms",
        "matched 05:06:09 1.1 s",
        "screened 05:06:10 900 ms",
        "inferred 05:06:28 17 s",
        "planned 05:06:29 1.0 s",
        "sent 05:06:31 2.0 s",
    ]


def test_revisions_say_what_changed(client: TestClient, filled: Database) -> None:
    text = main_text(page(client, f"/events/{EVENT}"))
    assert "90 % area 60.0 deg² → 31.0 deg²" in text
    assert "false alarms 1 per 1.6 yr → 1 per 21 yr" in text
    assert f"{FIRST} rank 2 → 1, score 0.300 → 0.570; kilonova 0.300 → 0.570" in text
    assert "SN27ccc new at rank 3" in text


def test_deliveries_show_state_and_payload(client: TestClient, filled: Database) -> None:
    elements = page(client, f"/events/{EVENT}")
    payloads = find(elements, "pre", class_="payload")
    assert len(payloads) == 2
    assert f'"event_id": "{EVENT}"' in payloads[0].text
    assert "practice and real do not mix" in main_text(elements)


def test_a_retracted_event_says_so_before_anything_else(
    client: TestClient, database: Database
) -> None:
    sample.add(
        database,
        sample.event_row("S270301z", state="retracted", is_practice=False, current_alert_id=1),
        sample.alert_row(1, "PRELIMINARY", event_id="S270301z"),
        sample.alert_row(2, "RETRACTION", event_id="S270301z"),
        PlanRevisionRow(event_id="S270301z", revision=1, content_sha256="0" * 64,
                        planned_for=HEARD, n_targets=0, objective=0.0,
                        note="The event is retracted.", created_at=HEARD),
    )  # fmt: skip
    text = main_text(page(client, "/events/S270301z"))
    assert text.startswith("Retracted. Do not observe")
    assert "The plan has no targets. The event is retracted." in text
    row = find(page(client, "/events"), "tr", data_event="S270301z")[0]
    assert "retracted" in row.text


def test_an_event_without_a_map_a_time_or_a_plan_is_a_page_like_any_other(
    client: TestClient, database: Database
) -> None:
    sample.add(database, sample.event_row("IC270302A", event_time=None, significant=None))
    text = main_text(page(client, "/events/IC270302A"))
    assert "No sky map yet" in text
    assert "no light curve" in text
    assert "No plan yet" in text


def test_an_unbalanced_ledger_is_an_alarm_everywhere(
    client: TestClient, database: Database
) -> None:
    sample.add(database, LedgerRow(stage="match", received=5, processed=3, dead=0))
    health = page(client, "/health")
    row = find(health, "tr", data_stage="match")[0]
    assert row.attributes["class"] == "lost"
    assert "does not add up" in row.text
    assert "stage match: 2 lost" in main_text(health)
    assert "the ledger does not balance" in main_text(page(client, "/events"))


def test_dead_letters_are_listed_with_reason_and_notice(
    client: TestClient, filled: Database
) -> None:
    elements = page(client, "/health")
    assert "ra: 400.0 is not in" in main_text(elements)
    assert find(elements, "a", href="/notices/3")


def test_a_notice_is_shown_as_received_and_shortened(client: TestClient, filled: Database) -> None:
    shown = find(page(client, "/notices/1"), "pre", class_="raw")[0].text
    assert f'"superevent_id": "{EVENT}"' in shown
    assert "(20,000 characters)" in shown
    assert len(shown) < 1000
    dead = page(client, "/notices/3")
    assert find(dead, "pre", class_="raw")[0].text.startswith("00000000  00 01 4f 62 6a ff")
    assert "Dead letter from intake" in main_text(dead)
    assert "planned" in main_text(page(client, "/notices/1"))


def test_links_and_scripts_inside_a_notice_stay_text(client: TestClient, filled: Database) -> None:
    evil = "javascript:alert(1)"
    payloads = {
        11: f'{{"url": "{evil}", "x": "<a href=\'{evil}\'>go</a><script>alert(2)</script>"}}',
        12: f"<VOEvent><What><Reference uri='{evil}'/><script>alert(3)</script></What></VOEvent>",
        13: f"<svg onload=alert(4)><a href={evil}>not XML",
        14: f"plain https://evil.invalid/ {evil}",
    }
    for number, payload in payloads.items():
        sample.add(filled, sample.notice_row(number, payload.encode(), source="igwn"))
        elements = page(client, f"/notices/{number}")
        assert "alert(" in find(elements, "pre", class_="raw")[0].text
        links = [e.attributes.get("href", "") for e in find(elements, "a")]
        assert all(link.startswith(("/", "#")) for link in links)
        assert len(find(elements, "script")) == 1
        assert find(elements, "svg", onload="alert(4)") == []


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;&b;&b;</x>'


@pytest.mark.parametrize(
    ("payload", "kind", "lines"),
    [
        (b'{"a": {"b": 1}}', "JSON", ['  "a": {', '    "b": 1']),
        (b"<a><b x='1'>t</b><c/></a>", "XML", ["<a>", '  <b x="1">t</b>', "  <c/>"]),
        (b"<v:a xmlns:v='u'>\n<v:b/>\n</v:a>", "XML", ['<v:a xmlns:v="u">', "  <v:b/>"]),
        (b"<a>not closed", "text", ["<a>not closed"]),
        (BOMB.encode(), "text", [BOMB]),
        (b"<a>" * 5000 + b"</a>" * 5000, "text", []),
        (b"\xff\x00 words", "binary", ["00000000  ff 00 20 77 6f 72 64 73" + " " * 26
                                        + ".. words"]),
        (b"Obj\x01rest", "Avro container file, 8 bytes", ["00000000  4f 62 6a 01 72 65 73 74"
                                                          + " " * 26 + "Obj.rest"]),
        (b"", "text", []),
    ],
)  # fmt: skip
def test_what_was_received_is_made_readable(payload: bytes, kind: str, lines: list[str]) -> None:
    shown = raw.pretty(payload)
    assert shown.kind == kind
    assert set(lines) <= set(shown.text.splitlines())


@given(payload=st.binary(max_size=4000) | st.text(max_size=2000).map(str.encode))
@example(payload="<a>\ufeff</a>".encode("utf-16"))
def test_any_bytes_can_be_shown(payload: bytes) -> None:
    shown = raw.pretty(payload)
    assert len(shown.text) < 100_000
    assert shown.kind


# -- alarms ------------------------------------------------------------------------------


def test_alarms_are_a_banner_on_every_page(client: TestClient, filled: Database) -> None:
    for path in PAGES:
        assert find(page(client, path), "aside") == []
    sample.add(
        filled,
        sample.alarm_row("disk low", "warn"),
        sample.alarm_row("ledger", cleared_at=HEARD),
    )
    for path in (*PAGES, "/nope"):
        (banner,) = find(page(client, path, 404 if path == "/nope" else 200), "aside")
        assert "is-warn" in banner.attributes["class"]
        assert "disk low" in banner.text
        assert "ledger" not in banner.text
    sample.add(filled, sample.alarm_row("silent gcn"))
    (banner,) = find(page(client, "/"), "aside")
    assert "is-page" in banner.attributes["class"]
    assert "silent gcn" in banner.text
    assert "and 1 more" in banner.text


def test_health_shows_what_to_do_and_who_was_told(client: TestClient, filled: Database) -> None:
    told = {
        "ops": {"raised": {"outcome": "sent", "done": True}},
        "tom": {"raised": {"outcome": "retry", "detail": "HTTP 500", "done": False}},
    }
    sample.add(
        filled,
        sample.alarm_row("silent gcn", told=told),
        sample.alarm_row("mock", cleared_at=HEARD + timedelta(minutes=5)),
        CounterRow(source="fink_lsst", name="veto moving", n=12345),
    )
    text = main_text(page(client, "/health"))
    assert "What silent gcn means and what to do." in text
    assert "ops: told; tom: not told yet (HTTP 500)" in text
    assert "1 cleared lately" in text
    assert "stood 5.0 min" in text
    assert "veto moving" in text
    assert "12,345" in text


def test_health_shows_each_listener(filled: Database) -> None:
    status = sample.listener_status(
        "gcn", received=1204, lag=10_234, rebuilds=3, missing_topics=("gcn.notices.x",),
        last_received_at=HEARD,
    )  # fmt: skip
    app = create_app(filled, Settings(), lambda: [status, sample.listener_status("quiet")])
    text = main_text(page(TestClient(app), "/health"))
    for expected in (
        "1,204 received", "lag 10,234", "rebuilt 3×", "no topic gcn.notices.x",
        "last message 2027-03-04 05:06:08", "no message yet",
    ):  # fmt: skip
        assert expected in text


# -- notices -----------------------------------------------------------------------------


def shown_notices(elements: list[Element]) -> list[int]:
    return [int(e.attributes["data-notice"]) for e in elements if "data-notice" in e.attributes]


def test_notices_are_listed_by_source_and_state_and_paged_by_id(
    client: TestClient, filled: Database
) -> None:
    sample.add(
        filled,
        *(
            sample.notice_row(n, b"{}", source="ztf" if n % 2 else "igwn",
                              state="pending" if n > 60 else "processed")
            for n in range(4, 64)
        ),
    )  # fmt: skip
    first = page(client, "/notices")
    assert shown_notices(first) == list(range(63, 13, -1))
    (older,) = [a for a in find(first, "a") if a.text == "Older"]
    assert shown_notices(page(client, older.attributes["href"])) == list(range(13, 0, -1))
    assert shown_notices(page(client, "/notices?source=ztf&before=10")) == [9, 7, 5]
    assert shown_notices(page(client, "/notices?state=dead")) == [3]
    assert shown_notices(page(client, "/notices?state=dead&source=igwn")) == []
    assert shown_notices(page(client, "/notices?state=pending&source=igwn")) == [62]
    assert shown_notices(page(client, "/notices?state=nonsense"))[0] == 63


def test_a_rare_source_is_looked_for_step_by_step(
    client: TestClient, filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views_notices, "_SPAN", 10)
    sample.add(filled, *(sample.notice_row(n, b"{}", source="ztf") for n in range(4, 40)))
    path, seen = "/notices?source=igwn", []
    for _ in range(10):
        elements = page(client, path)
        seen += shown_notices(elements)
        older = [a for a in find(elements, "a") if a.text == "Older"]
        if not older:
            break
        path = older[0].attributes["href"]
    assert seen == [2, 1]


def test_a_notice_is_found_from_its_event_its_object_and_its_dead_letter(
    client: TestClient, filled: Database
) -> None:
    repeat = sample.notice_row(5, b"{}", broker="scimma", outcome="duplicate of notice 2")
    row = {"id": FIRST, "ra": "197.4", "dec": "-23.4"}
    sample.add(
        filled,
        repeat,
        AlertNoticeRow(alert_id=2, notice_id=5),
        sample.notice_row(6, json.dumps(row).encode(), source="table_candidates"),
    )
    assert shown_notices(page(client, f"/events/{EVENT}")) == [5, 2, 1]
    assert 1 in shown_notices(page(client, f"/objects/{FIRST}"))
    assert find(page(client, "/health"), "a", href="/notices/3")
    assert find(page(client, "/notices/5"), "a", href=f"/events/{EVENT}")
    assert find(page(client, "/notices/6"), "a", href=f"/objects/{FIRST}")
    unknown = json.dumps(row | {"id": "NOBODY"}).encode()
    sample.add(filled, sample.notice_row(7, unknown, source="table_candidates"))
    assert not find(page(client, "/notices/7"), "a", href="/objects/NOBODY")


def hostile_rows() -> list[Any]:
    """The hostile text in every place that comes from outside."""
    row = sample.plan_row(1, HOSTILE, 0.5)
    document = {
        **sample.row_to_json(row),
        "reasons": {name: HOSTILE for name in (*sample.FACTORS, HOSTILE)},
        "instrument": HOSTILE,
        "band": HOSTILE,
        "run_key": HOSTILE,
    }
    return [
        sample.event_row(HOSTILE, localization_id=MAP, aliases=[HOSTILE], current_alert_id=9),
        AlertRow(id=9, event_id=HOSTILE, alert_type="INITIAL", time_created=HEARD, notice_id=9,
                 messenger="GW", is_practice=True, group=HOSTILE, instruments=[HOSTILE],
                 classification={HOSTILE: 0.9}, properties={HOSTILE: 0.5}, received_at=HEARD),
        CandidateRow(object_id=HOSTILE, source=HOSTILE, ra_deg=197.0, dec_deg=-23.0, hpx29=1,
                     attributes={HOSTILE: HOSTILE}, notice_id=9, received_at=HEARD),
        MatchRow(event_id=HOSTILE, localization_id=MAP, object_id=HOSTILE, prob_density_sr=1.0,
                 credible_level_2d=0.5, matched_at=HEARD),
        ScreeningRow(event_id=HOSTILE, object_id=HOSTILE, p_kilonova=0.5, reason=HOSTILE,
                     run_key=HOSTILE, screened_at=HEARD),
        sample.run_row(run_key=HOSTILE, event_id=HOSTILE, object_id=HOSTILE, error=HOSTILE,
                       summary={"model": HOSTILE, "reason": HOSTILE,
                                "parameters": {HOSTILE: {"median": 1.0, "unit": HOSTILE}},
                                "comparison": [{"model": HOSTILE}]}),
        PlanRevisionRow(event_id=HOSTILE, revision=1, content_sha256="0" * 64, planned_for=HEARD,
                        n_targets=1, objective=0.5, note=HOSTILE, created_at=HEARD),
        RequestRow(event_id=HOSTILE, revision=1, rank=1, object_id=HOSTILE, score=0.5,
                   row=document),
        sample.delivery_row(9, event_id=HOSTILE, sink=HOSTILE, target=HOSTILE, detail=HOSTILE,
                            remote_id=HOSTILE, payload={HOSTILE: HOSTILE}),
        sample.journal(HOSTILE, HOSTILE, HOSTILE, 1.0, event_id=HOSTILE, object_id=HOSTILE),
        sample.notice_row(9, HOSTILE.encode(), topic=HOSTILE, outcome=HOSTILE),
        DeadLetterRow(id=9, notice_id=9, stage=HOSTILE, reason=HOSTILE, at=HEARD),
        AlertNoticeRow(alert_id=9, notice_id=9),
        CounterRow(source=HOSTILE, name=HOSTILE, n=1),
        sample.alarm_row(HOSTILE, text=HOSTILE, told={HOSTILE: {"raised": {"detail": HOSTILE}}}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "where",
    ["/", "/events", "/runs", "event", "object", "/health", "/notices", "/notices/9",
     "/notices?source=%3Cscript%3E", "/missing"],
)  # fmt: skip
def test_hostile_text_is_text_everywhere(
    client: TestClient, database: Database, where: str
) -> None:
    sample.add(database, *hostile_rows(), *sample.photometry(HOSTILE)[:3])
    sample.add(database, sample.map_row(MAP, 31.0, 8.0, 3.0))
    path = {
        "event": f"/events/{sample.url(HOSTILE)}",
        "object": f"/objects/{sample.url(HOSTILE)}",
        "/missing": f"/events/{sample.url(HOSTILE + 'x')}",
    }.get(where, where)
    elements = page(client, path, 404 if where == "/missing" else 200)
    shown = find(elements, "aside" if "?" in where else "main")[0].text
    assert HOSTILE.split('"')[0] in shown
    assert not find(elements, "img")
    scripts = find(elements, "script")
    assert [s.attributes["src"].split("?")[0] for s in scripts] == ["/static/mmcoord.js"]
    assert not [name for e in elements for name in e.attributes if name.startswith("on")]


def test_a_name_that_turns_the_text_around_is_spelled_out(
    client: TestClient, database: Database
) -> None:
    sample.add(database, sample.event_row("S27\u202e4030ab"))
    assert "\u202e" not in client.get("/events").text
    assert "S27\\u202e4030ab" in client.get("/events").text


def test_names_with_slashes_and_spaces_can_be_followed(
    client: TestClient, database: Database
) -> None:
    name = "survey/field 7/#12?x=1&y=ü"
    sample.add(
        database,
        CandidateRow(object_id=name, source="file", ra_deg=1.0, dec_deg=2.0, hpx29=1, notice_id=1,
                     received_at=HEARD),
        sample.run_row(object_id=name, run_key="k", event_id="none"),
    )  # fmt: skip
    link = next(
        e for e in page(client, "/health") if e.attributes.get("href", "").startswith("/objects/")
    )
    assert name in main_text(page(client, link.attributes["href"]))


@pytest.mark.parametrize("path", ["/nope", "/events/S1", "/objects/x", "/notices/77", "/notices/a"])
def test_what_is_not_there_is_a_page_that_says_so(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    assert "All events" in answer.text


@pytest.mark.parametrize("path", [*PAGES, "/nope", "/healthz", "/static/mmcoord.js"])
def test_every_answer_has_the_security_headers(
    client: TestClient, filled: Database, path: str
) -> None:
    headers = client.get(path).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", PAGES)
def test_pages_need_nothing_inline_and_nothing_from_elsewhere(
    client: TestClient, filled: Database, path: str
) -> None:
    elements = page(client, path)
    assert not [e for e in elements if "style" in e.attributes or e.tag == "style"]
    loaded = [e.attributes.get("src") or e.attributes.get("href", "") for e in elements
              if e.tag in ("script", "link", "img", "iframe")]  # fmt: skip
    assert all(address.startswith("/static/") for address in loaded)


@pytest.mark.parametrize("path", PAGES)
def test_pages_have_one_heading_labels_and_unique_ids(
    client: TestClient, filled: Database, path: str
) -> None:
    elements = page(client, path)
    assert len(find(elements, "h1")) == 1
    assert find(elements, "html")[0].attributes["lang"] == "en"
    ids = [e.attributes["id"] for e in elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for section in find(elements, "section"):
        assert section.attributes["aria-labelledby"] in ids
    for button in find(elements, "button"):
        assert button.attributes.get("aria-label") or button.text.strip()
    for header in find(elements, "th"):
        assert header.attributes.get("scope") in ("col", "row")


def test_many_events_come_in_pages(client: TestClient, database: Database) -> None:
    sample.add(
        database,
        *(
            sample.event_row(f"S27{k:03d}", first_received_at=HEARD + timedelta(minutes=k))
            for k in range(60)
        ),
    )
    first = page(client, "/events")
    shown = [e.attributes["data-event"] for e in first if "data-event" in e.attributes]
    assert shown == [f"S27{k:03d}" for k in range(59, 9, -1)]
    older = page(client, "/events?offset=50")
    assert len([e for e in older if "data-event" in e.attributes]) == 10


def test_a_store_that_cannot_be_read_is_said_plainly(tmp_path: Any) -> None:
    database = Database(f"sqlite:///{tmp_path / 'nothing.db'}")  # no tables in it
    client = TestClient(create_app(database, Settings(), list))
    assert client.get("/").status_code == 503
    assert "cannot be read" in client.get("/events").text
    health = client.get("/healthz")
    assert health.status_code == 503
    assert health.json()["status"] == "degraded"
    assert health.json()["ledger_balanced"] is None
    database.close()


# -- links out of notices ----------------------------------------------------------------

HOSTILE_LINKS = {
    "script": "javascript:alert(document.domain)//gracedb.ligo.org",
    "data": "data:text/html,<script>alert(1)</script>",
    "look-alike": "https://gracedb.ligo.org.evil.example/superevents/",
    "prefix": "https://gracedb-ligo.org/",
    "cyrillic": "https://gr\u0430cedb.ligo.org/",
    "user": "https://gracedb.ligo.org@evil.example/",
    "backslash": "https://evil.example\\@gracedb.ligo.org/",
    "inside": "http://127.0.0.1:8765/",
    "quote": 'https://evil.example/" onmouseover="alert(1)',
    "turned": "https://evil.example/\u202egro.ogil.bdecarg",
}
GOOD_LINKS = {
    "gracedb": "https://gracedb.ligo.org/superevents/S270304a/view/",
    "healpix_url": "http://heasarc.gsfc.nasa.gov/FTP/a%22b.fit?x=1&y=<b>",
}


def with_links(database: Database) -> None:
    with database.write() as session:
        session.add(
            sample.alert_row(90, "UPDATE", notice_id=1, urls={**HOSTILE_LINKS, **GOOD_LINKS})
        )


@pytest.mark.parametrize("path", [f"/events/{EVENT}", "/notices/1"])
def test_only_a_link_to_a_listed_host_can_be_followed(
    client: TestClient, filled: Database, path: str
) -> None:
    with_links(filled)
    elements = page(client, path)
    shown = {e.attributes["data-link"]: e for e in elements if "data-link" in e.attributes}
    for name, url in HOSTILE_LINKS.items():
        assert find(shown[name].children, "a") == []
        assert url.replace("\u202e", "\\u202e") in shown[name].text
    for name in GOOD_LINKS:
        (link,) = find(shown[name].children, "a")
        assert link.text == GOOD_LINKS[name]
        assert "noopener" in link.attributes["rel"].split()
    (link,) = find(shown["healpix_url"].children, "a")
    assert link.attributes["href"] == "https://heasarc.gsfc.nasa.gov/FTP/a%22b.fit?x=1&y=<b>"
    for anchor in find(elements, "a"):
        target = anchor.attributes["href"]
        ours = target.startswith(("/", "?", "#")) and not target.startswith("//")
        assert ours or target.startswith(
            ("https://gracedb.ligo.org/", "https://heasarc.gsfc.nasa.gov/")
        ), target


def test_the_list_of_the_settings_decides_what_can_be_followed(filled: Database) -> None:
    with_links(filled)
    settings = Settings(fetch=FetchSettings(hosts=("heasarc.gsfc.nasa.gov",)))
    with TestClient(create_app(filled, settings, list)) as client:
        elements = page(client, f"/events/{EVENT}")
    outward = [a.attributes["href"] for a in find(elements, "a") if "://" in a.attributes["href"]]
    assert [urlsplit(target).hostname for target in outward] == ["heasarc.gsfc.nasa.gov"]


def test_an_event_without_links_shows_no_list_of_them(client: TestClient, filled: Database) -> None:
    assert not [e for e in page(client, f"/events/{EVENT}") if "data-link" in e.attributes]


def test_a_tainted_run_and_plan_say_so_on_every_page_and_over_the_api(
    client: TestClient, filled: Database
) -> None:
    reason = f"edited: lsst:r 19.2 became 19.6 {HOSTILE}"
    with filled.write() as session:
        run = session.execute(select(RunRow).where(RunRow.object_id == FIRST)).scalars().first()  # type: ignore[arg-type]
        assert run is not None
        run.tainted_at, run.tainted_by, run.taint_reason = HEARD, "point lsst:r|1", reason
        for plan in session.execute(select(PlanRevisionRow)).scalars():
            plan.tainted_at, plan.taint_reason = HEARD, reason
        key = run.run_key
    for path in (f"/events/{EVENT}", f"/objects/{FIRST}"):
        text = main_text(page(client, path))
        assert "tainted" in text
        assert "became 19.6" in text
    assert "tainted" in main_text(page(client, "/health"))
    told = client.get(f"/api/v1/runs/{key}").json()
    assert (told["tainted_by"], told["taint_reason"]) == ("point lsst:r|1", reason)
    assert told["tainted_at"] is not None
    plan_told = client.get(f"/api/v1/events/{EVENT}/plan").json()
    assert plan_told["plan"]["taint_reason"] == reason
