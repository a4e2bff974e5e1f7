"""The TOM sink against a real TOM, judged by what the TOM's own REST interface shows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from followup.sinks.base import Answer, Outcome
from followup.sinks.tom import TomSink, build
from mmcoord.records import AlertType, Outgoing, OutgoingKind, PlanRow
from tests.sinks.sample import outgoing, row_of
from tests.system import missing
from tests.tom_server import TomServer, TomUnavailable, TomUser, extras, running_tom

pytestmark = pytest.mark.tom
_COUNTER = itertools.count(1)


@dataclass(frozen=True)
class Sky:
    """An event and a strip of sky that no other test uses."""

    event_id: str
    number: int

    def row(self, number: int, rank: int, score: float | None = None) -> PlanRow:
        plain = row_of(number, rank, score=score)
        return replace(
            plain,
            object_id=f"{self.event_id}-obj-{number}.",
            ra_deg=(self.number * 7.0 + number * 0.01) % 360.0,
        )

    def plan(
        self, *rows: PlanRow, revision: int = 1, measured: bool = False, **more: object
    ) -> Outgoing:
        return outgoing(
            rows, revision=revision, event_id=self.event_id, with_photometry=measured, **more
        )


@pytest.fixture
def sky() -> Sky:
    number = next(_COUNTER)
    return Sky(f"MS2611{number:02d}x", number)


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client() as client:
        yield client


def _sink(tom: TomServer, client: httpx.Client, **more: object) -> TomSink:
    table = {"kind": "tom", "url": tom.url, "token": tom.bot.token, "practice": True, **more}
    return build("tom", table, client)


@pytest.fixture
def sink(tom: TomServer, client: httpx.Client) -> TomSink:
    return _sink(tom, client)


def _send(sink: TomSink, plan: Outgoing) -> list[Answer]:
    """Per target, as the deliver stage does."""
    answers = []
    for row in plan.rows:
        one = replace(plan, rows=(row,), key=f"{plan.event_id}/{plan.plan_revision}/{row.rank}")
        answers.append(sink.send(sink.payload(one), key=one.key))
    return answers


def _mine(tom: TomServer, sky: Sky, user: TomUser | None = None) -> dict[str, dict[str, object]]:
    return {t["name"]: t for t in tom.targets(user, name=f"{sky.event_id}-obj-")}


def test_a_plan_of_twenty_is_seen_in_the_tom(tom: TomServer, sink: TomSink, sky: Sky) -> None:
    plan = sky.plan(*(sky.row(n, n) for n in range(1, 21)))
    answers = _send(sink, plan)
    assert {a.outcome for a in answers} == {Outcome.SENT}
    targets = _mine(tom, sky)
    assert set(targets) == {r.object_id for r in plan.rows}
    assert tom.members(sky.event_id) == set(targets)
    for row, answer in zip(plan.rows, answers, strict=True):
        target = targets[row.object_id]
        assert str(target["id"]) == answer.remote_id
        assert (target["ra"], target["dec"]) == (row.ra_deg, row.dec_deg)
        assert [g["name"] for g in target["groups"]] == ["mmcoord"]
        seen = extras(target)
        assert seen["mmcoord_rank"] == str(row.rank)
        assert float(seen["mmcoord_score"]) == pytest.approx(row.score, rel=1e-5)
        assert seen["mmcoord_event"] == sky.event_id
        assert seen["mmcoord_plan_revision"] == "1"
        assert seen["mmcoord_state"] == "active"
        assert seen["mmcoord_key"] == f"{sky.event_id}/1/{row.rank}"


def test_group_members_see_the_targets_and_others_do_not(
    tom: TomServer, sink: TomSink, sky: Sky
) -> None:
    _send(sink, sky.plan(sky.row(1, 1)))
    assert len(_mine(tom, sky, tom.observer)) == 1
    assert _mine(tom, sky, tom.outsider) == {}


def test_photometry_arrives_in_utc_with_its_limit_apart(
    tom: TomServer, sink: TomSink, sky: Sky
) -> None:
    (answer,) = _send(sink, sky.plan(sky.row(1, 1), measured=True))
    data = tom.get("/api/reduceddatums/", target__id=str(answer.remote_id)).json()["results"]
    by_time = {d["timestamp"]: d["value"] for d in data}
    # MJD 61368.1 TAI = 2026-11-24 02:24:00 TAI; TAI - UTC = 37 s since 2017
    detection = by_time["2026-11-24T02:23:23Z"]
    assert (detection["brightness"], detection["brightness_error"]) == (19.31, 0.02)
    assert (detection["bandpass"], detection["unit"]) == ("lsst:g", "AB mag")
    assert by_time["2026-11-23T11:59:23Z"]["brightness"] is None
    assert len(data) == 3


@pytest.mark.parametrize("same_process", [True, False])
def test_pushing_again_makes_nothing_new(
    tom: TomServer, client: httpx.Client, sky: Sky, same_process: bool
) -> None:
    first = _sink(tom, client)
    plan = sky.plan(*(sky.row(n, n) for n in range(1, 4)), measured=True)
    ids = [a.remote_id for a in _send(first, plan)]
    before = _mine(tom, sky)
    again = _send(first if same_process else _sink(tom, client), plan)
    assert [(a.outcome, a.remote_id) for a in again] == [(Outcome.SENT, i) for i in ids]
    assert _mine(tom, sky) == before
    for i in ids:
        assert tom.get("/api/reduceddatums/", target__id=str(i)).json()["count"] == 3


@pytest.mark.parametrize("same_process", [True, False])
def test_a_new_ranking_rewrites_the_extras(
    tom: TomServer, client: httpx.Client, sky: Sky, same_process: bool
) -> None:
    sink = _sink(tom, client)
    _send(sink, sky.plan(*(sky.row(n, n) for n in range(1, 6))))
    turned = sky.plan(*(sky.row(6 - rank, rank) for rank in range(1, 6)), revision=2)
    answers = _send(sink if same_process else _sink(tom, client), turned)
    assert {a.outcome for a in answers} == {Outcome.SENT}
    seen = {name: extras(target) for name, target in _mine(tom, sky).items()}
    assert {name: e["mmcoord_rank"] for name, e in seen.items()} == {
        r.object_id: str(r.rank) for r in turned.rows
    }
    assert {e["mmcoord_plan_revision"] for e in seen.values()} == {"2"}


def test_an_older_revision_that_arrives_late_changes_nothing(
    tom: TomServer, sink: TomSink, sky: Sky, client: httpx.Client
) -> None:
    _send(sink, sky.plan(sky.row(1, 1), revision=3))
    before = _mine(tom, sky)
    (answer,) = _send(_sink(tom, client), sky.plan(sky.row(1, 9), revision=2))
    assert answer.outcome is Outcome.SENT
    assert "revision 3" in answer.detail
    assert _mine(tom, sky) == before


def _withdrawal(sky: Sky, row: PlanRow, alert_type: AlertType, revision: int = 2) -> Outgoing:
    return sky.plan(row, revision=revision, kind=OutgoingKind.WITHDRAW, alert_type=alert_type)


def test_a_retraction_is_seen_on_every_target(tom: TomServer, sink: TomSink, sky: Sky) -> None:
    rows = [sky.row(n, n) for n in range(1, 4)]
    ids = [a.remote_id for a in _send(sink, sky.plan(*rows))]
    for row, remote_id in zip(rows, ids, strict=True):
        payload = sink.payload(_withdrawal(sky, row, AlertType.RETRACTION))
        answer = sink.withdraw(payload, key="k", remote_id=remote_id)
        assert answer.outcome is Outcome.SENT
    targets = _mine(tom, sky)
    assert tom.members(f"{sky.event_id} retracted") == set(targets)
    for target in targets.values():
        seen = extras(target)
        assert seen["mmcoord_state"] == "retracted"
        assert seen["mmcoord_rank"] == "retracted"
        assert seen["mmcoord_score"] == "retracted"
    # a TOM cannot take a target out of a list: what remains is said, not hidden
    assert tom.members(sky.event_id) == set(targets)


def test_what_was_retracted_is_not_revived_by_a_late_delivery(
    tom: TomServer, sink: TomSink, sky: Sky, client: httpx.Client
) -> None:
    row = sky.row(1, 1)
    _send(sink, sky.plan(row))
    payload = sink.payload(_withdrawal(sky, row, AlertType.RETRACTION))
    assert sink.withdraw(payload, key="k", remote_id=None).outcome is Outcome.SENT
    (answer,) = _send(_sink(tom, client), sky.plan(row, revision=2))
    assert answer.outcome is Outcome.REJECTED
    assert extras(_mine(tom, sky)[row.object_id])["mmcoord_state"] == "retracted"


def test_a_target_dropped_from_the_plan_comes_back_with_a_later_one(
    tom: TomServer, sink: TomSink, sky: Sky
) -> None:
    row = sky.row(1, 1)
    _send(sink, sky.plan(row))
    sink.withdraw(sink.payload(_withdrawal(sky, row, AlertType.UPDATE)), key="k", remote_id=None)
    assert extras(_mine(tom, sky)[row.object_id])["mmcoord_state"] == "withdrawn"
    assert tom.members(f"{sky.event_id} retracted") == set()
    (answer,) = _send(sink, sky.plan(row, revision=3))
    assert answer.outcome is Outcome.SENT
    assert extras(_mine(tom, sky)[row.object_id])["mmcoord_state"] == "active"


def test_the_published_payload_withdraws_too(tom: TomServer, sink: TomSink, sky: Sky) -> None:
    plan = sky.plan(sky.row(1, 1))
    (sent,) = _send(sink, plan)
    answer = sink.withdraw(sink.payload(plan), key="k", remote_id=sent.remote_id)
    assert answer.outcome is Outcome.SENT
    (target,) = _mine(tom, sky).values()
    assert extras(target)["mmcoord_state"] == "withdrawn"


def test_another_events_target_is_not_marked(tom: TomServer, sink: TomSink, sky: Sky) -> None:
    row = sky.row(1, 1)
    _send(sink, sky.plan(row))
    other = replace(sky, event_id=f"{sky.event_id}-later")
    _send(sink, other.plan(row))
    payload = sink.payload(_withdrawal(sky, row, AlertType.RETRACTION))
    assert sink.withdraw(payload, key="k", remote_id=None).outcome is Outcome.SENT
    (target,) = _mine(tom, sky).values()
    assert extras(target)["mmcoord_state"] == "active"
    assert extras(target)["mmcoord_event"] == other.event_id
    assert tom.members(f"{sky.event_id} retracted") == {row.object_id}


def test_withdrawing_what_is_not_there_is_done(sink: TomSink, sky: Sky) -> None:
    payload = sink.payload(_withdrawal(sky, sky.row(1, 1), AlertType.RETRACTION))
    answer = sink.withdraw(payload, key="k", remote_id="999999")
    assert answer.outcome is Outcome.SENT
    assert "nothing to withdraw" in answer.detail


def _create(tom: TomServer, user: TomUser, **body: object) -> dict[str, object]:
    body = {"type": "SIDEREAL", **body}
    answer = httpx.post(f"{tom.url}/api/targets/", headers=user.headers, json=body, timeout=60)
    assert answer.status_code == 201, answer.text
    created: dict[str, object] = answer.json()
    return created


def test_a_target_known_by_alias_is_used(tom: TomServer, sink: TomSink, sky: Sky) -> None:
    row = sky.row(1, 1)
    there = _create(
        tom,
        tom.observer,
        name=f"AT-{sky.event_id}",
        ra=300.0,
        dec=60.0,
        aliases=[{"name": row.object_id}],
        groups=[{"name": "mmcoord"}],
    )
    (answer,) = _send(sink, sky.plan(row))
    assert answer.remote_id == str(there["id"])
    (target,) = _mine(tom, sky).values()
    assert (target["name"], target["ra"]) == (f"AT-{sky.event_id}", 300.0)  # theirs, kept
    assert extras(target)["mmcoord_rank"] == "1"


@pytest.mark.parametrize(
    ("ra", "dec"), [(0.00002, 11.0), (359.99999, -12.0), (120.0, 89.9995), (33.0, -89.99)]
)
def test_a_target_at_the_same_place_is_used_and_learns_the_name(
    tom: TomServer, client: httpx.Client, sky: Sky, ra: float, dec: float
) -> None:
    sink = _sink(tom, client, cone_arcsec=2.0)
    theirs = f"AT-{sky.event_id}"
    there = _create(tom, tom.bot, name=theirs, ra=359.9999 if ra < 1 else ra, dec=dec)
    row = replace(sky.row(1, 1), ra_deg=ra, dec_deg=dec)
    (answer,) = _send(sink, sky.plan(row))
    assert answer.remote_id == str(there["id"])
    (target,) = _mine(tom, sky).values()
    assert target["name"] == theirs
    assert [a["name"] for a in target["aliases"]] == [row.object_id]
    assert target["groups"] == []  # whom theirs is shown to is not ours to widen
    assert len(tom.targets(name=sky.event_id)) == 1


def test_two_candidates_at_one_place_stay_two_targets(
    tom: TomServer, sink: TomSink, sky: Sky
) -> None:
    one = sky.row(1, 1)
    two = replace(sky.row(2, 2), ra_deg=one.ra_deg + 0.0001, dec_deg=one.dec_deg)
    answers = _send(sink, sky.plan(one, two))
    assert len({a.remote_id for a in answers}) == 2


def test_a_similar_name_is_not_the_same_name(tom: TomServer, sink: TomSink, sky: Sky) -> None:
    longer = sky.row(1, 1)
    shorter = replace(sky.row(2, 2), object_id=longer.object_id[:-2])
    answers = _send(sink, sky.plan(longer, shorter))
    assert len({a.remote_id for a in answers}) == 2


def test_a_name_hidden_from_us_waits_for_a_person(tom: TomServer, sink: TomSink, sky: Sky) -> None:
    row = sky.row(1, 1)
    _create(tom, tom.outsider, name=row.object_id, ra=row.ra_deg, dec=row.dec_deg)
    (answer,) = _send(sink, sky.plan(row))
    assert answer.outcome is Outcome.RETRY
    assert "may not see it" in answer.detail
    assert answer.retry_after_s


@pytest.mark.parametrize("who", ["outsider", "admin"])
def test_a_user_outside_the_group_sends_nothing(
    tom: TomServer, client: httpx.Client, sky: Sky, who: str
) -> None:
    sink = _sink(tom, client, token=getattr(tom, who).token)
    (answer,) = _send(sink, sky.plan(sky.row(1, 1)))
    assert answer.outcome is Outcome.RETRY
    assert "group 'mmcoord'" in answer.detail
    assert _mine(tom, sky, tom.admin) == {}


def test_the_check_says_who_we_are_and_sends_nothing(tom: TomServer, client: httpx.Client) -> None:
    good = _sink(tom, client).check()
    assert (good.outcome, "groups: mmcoord" in good.detail) == (Outcome.SENT, True)
    for token in (tom.outsider.token, "0" * 40):
        assert _sink(tom, client, token=token).check().outcome is Outcome.RETRY


def test_a_stripped_authorization_header_sends_nothing(tom: TomServer, sky: Sky) -> None:
    def strip(request: httpx.Request) -> None:
        del request.headers["Authorization"]  # what some proxies do

    with httpx.Client(event_hooks={"request": [strip]}) as client:
        (answer,) = _send(_sink(tom, client), sky.plan(sky.row(1, 1)))
    assert answer.outcome is Outcome.RETRY
    assert _mine(tom, sky, tom.admin) == {}


def test_a_dead_token_is_said_and_the_message_kept(
    tom: TomServer, client: httpx.Client, sky: Sky
) -> None:
    (answer,) = _send(_sink(tom, client, token="0" * 40), sky.plan(sky.row(1, 1)))
    assert answer.outcome is Outcome.RETRY
    assert "token refused" in answer.detail
    assert "0" * 40 not in repr(answer)


def test_a_password_buys_a_token(tom: TomServer, client: httpx.Client, sky: Sky) -> None:
    login = {"url": tom.url, "username": tom.bot.name, "password": tom.bot.password}
    (answer,) = _send(build("tom", login, client), sky.plan(sky.row(1, 1)))
    assert answer.outcome is Outcome.SENT
    (wrong,) = _send(build("tom", {**login, "password": "wrong"}, client), sky.plan(sky.row(2, 2)))
    assert (wrong.outcome, wrong.retry_after_s) == (Outcome.RETRY, 300.0)
    assert "no token" in wrong.detail


def test_lookup_follows_the_deliveries(tom: TomServer, client: httpx.Client, sky: Sky) -> None:
    sink = _sink(tom, client)
    plan = sky.plan(sky.row(1, 1))
    payload = sink.payload(plan)
    before = sink.lookup(payload, key="key-1")
    sink.send(payload, key="key-1")
    after = sink.lookup(payload, key="key-1")
    newer = sky.plan(sky.row(1, 1), revision=2)
    unsent = sink.lookup(sink.payload(newer), key="key-2")
    assert [a and a.outcome for a in (before, after, unsent)] == [
        Outcome.RETRY,
        Outcome.SENT,
        Outcome.RETRY,
    ]


def test_half_a_delivery_is_found_out_and_finished(
    tom: TomServer, client: httpx.Client, sky: Sky
) -> None:
    """The target arrives, then the TOM is gone before the photometry."""
    broken = {"now": True}

    def break_photometry(request: httpx.Request) -> None:
        if broken["now"] and request.method == "POST" and "reduceddatums" in request.url.path:
            raise httpx.ReadTimeout("cut", request=request)

    plan = sky.plan(sky.row(1, 1), measured=True)
    with httpx.Client(event_hooks={"request": [break_photometry]}) as unlucky:
        sink = _sink(tom, unlucky)
        (cut,) = _send(sink, plan)
        payload, key = sink.payload(plan), f"{sky.event_id}/1/1"
        looked = sink.lookup(payload, key=key)
        broken["now"] = False
        (done,) = _send(sink, plan)
    assert cut.outcome is Outcome.UNKNOWN
    assert looked is not None
    assert looked.outcome is Outcome.RETRY
    assert "photometry" in looked.detail
    assert done.outcome is Outcome.SENT
    count = tom.get("/api/reduceddatums/", target__id=str(done.remote_id)).json()["count"]
    assert (len(_mine(tom, sky)), count) == (1, 3)


def test_a_creation_that_broke_off_is_completed(tom: TomServer, sink: TomSink, sky: Sky) -> None:
    """A TOM stores the target before its groups and extras; 500 can come in between."""
    row = sky.row(1, 1)
    _create(tom, tom.bot, name=row.object_id, ra=row.ra_deg, dec=row.dec_deg)
    (answer,) = _send(sink, sky.plan(row))
    assert answer.outcome is Outcome.SENT
    assert extras(_mine(tom, sky, tom.observer)[row.object_id])["mmcoord_rank"] == "1"
    assert tom.members(sky.event_id) == {row.object_id}


def test_a_target_that_people_deleted_or_changed_is_mended(
    tom: TomServer, sink: TomSink, sky: Sky
) -> None:
    plan = sky.plan(sky.row(1, 1), sky.row(2, 2))
    one, two = _send(sink, plan)
    url = f"{tom.url}/api/targets/{one.remote_id}/"
    assert httpx.delete(url, headers=tom.bot.headers, timeout=60).status_code == 204
    extra = _mine(tom, sky)[plan.rows[1].object_id]["targetextra_set"][0]["id"]
    url = f"{tom.url}/api/targetextra/{extra}/"
    assert httpx.delete(url, headers=tom.bot.headers, timeout=60).status_code == 204
    answers = _send(sink, sky.plan(sky.row(1, 2), sky.row(2, 1), revision=2))
    assert {a.outcome for a in answers} == {Outcome.SENT}
    assert answers[0].remote_id != one.remote_id
    assert answers[1].remote_id == two.remote_id
    ranks = {n: extras(t)["mmcoord_rank"] for n, t in _mine(tom, sky).items()}
    assert ranks == {sky.row(1, 2).object_id: "2", sky.row(2, 1).object_id: "1"}
    assert "mmcoord_event" in extras(_mine(tom, sky)[plan.rows[1].object_id])


def test_a_re_ranking_costs_one_request_per_target(tom: TomServer, sky: Sky) -> None:
    seen: list[str] = []
    hooks = {"request": [lambda request: seen.append(request.method)]}
    with httpx.Client(event_hooks=hooks) as client:
        sink = _sink(tom, client)
        _send(sink, sky.plan(sky.row(1, 1), sky.row(2, 2), measured=True))
        seen.clear()
        _send(sink, sky.plan(sky.row(2, 1), sky.row(1, 2), revision=2, measured=True))
    assert seen == ["PATCH", "PATCH"]


def test_a_closed_tom_that_shows_our_extras_works_too(client: httpx.Client, sky: Sky) -> None:
    """With the settings that ``docs/sinks.md`` recommends to a TOM's operator."""
    docs = (Path(__file__).parents[2] / "docs" / "sinks.md").read_text(encoding="utf-8")
    recommended = [
        block
        for block in re.findall(r"```python\n(.*?)```", docs, re.DOTALL)
        if "EXTRA_FIELDS" in block or "REST_FRAMEWORK" in block
    ]
    assert len(recommended) == 2
    try:
        with running_tom(more_settings="\n".join(recommended)) as closed:
            anonymous = httpx.get(f"{closed.url}/api/targets/", timeout=60)
            assert anonymous.status_code in (401, 403)
            login = {"username": closed.bot.name, "password": closed.bot.password}
            sink = build("tom", {"url": closed.url, **login}, client)
            for revision in (1, 2):
                answers = _send(sink, sky.plan(sky.row(1, revision), revision=revision))
                assert {a.outcome for a in answers} == {Outcome.SENT}
            (target,) = _mine(closed, sky).values()
            assert extras(target)["mmcoord_rank"] == "2"
            found = closed.targets(mmcoord_rank_min=2, mmcoord_rank_max=2)
            assert [t["id"] for t in found] == [target["id"]]
    except TomUnavailable as error:
        missing(f"TOM Toolkit: {error}")
