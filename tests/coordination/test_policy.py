"""What is published without asking a person: the rules, and the outbox that keeps to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from typer.testing import CliRunner

from followup.sinks.base import Answer, Granularity, Outcome, Payload
from mmcoord.access import Scope
from mmcoord.api.app import create_app
from mmcoord.cli import app
from mmcoord.config import SinkSettings
from mmcoord.errors import ConfigError, UnknownRecord
from mmcoord.policy import Action, Facts, Policy, Rule, decide, load_policy
from mmcoord.records import EventState, Outgoing
from mmcoord.stages import deliver
from mmcoord.stages.context import Context, load_sinks
from mmcoord.store import approvals
from mmcoord.store.database import Database
from mmcoord.store.tables import DeliveryRow
from tests.api.conftest import make_token
from tests.making import make_context
from tests.sinks.services import HERMES_TOKEN, FakeHermes
from tests.sinks.test_contract import TABLES
from tests.stages.test_deliver import publish
from tests.stores import migrated

NOW = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
FACTS = Facts(
    "GW",
    "INITIAL",
    significant=True,
    classification={"BNS": 0.9, "Terrestrial": 0.1},
    far_hz=1e-10,
    area_90_deg2=40.0,
    distance_mpc=60.0,
    p_kilonova=0.95,
)


# -- the rules ---------------------------------------------------------------------------


def test_without_rules_what_is_public_waits_and_what_is_private_goes() -> None:
    assert decide(Policy(), FACTS, "hermes", is_public=True).action is Action.HOLD
    assert decide(Policy(), FACTS, "tom", is_public=False).action is Action.SEND


def test_the_first_rule_that_holds_decides() -> None:
    policy = Policy(
        (
            Rule("no retractions", ("*",), Action.NEVER, alert_types=("RETRACTION",)),
            Rule("sure", ("hermes",), Action.SEND, classes={"BNS": 0.5}, min_p_kilonova=0.9),
            Rule("all held", ("*",), Action.HOLD),
        )
    )
    assert decide(policy, FACTS, "hermes", is_public=True).action is Action.SEND
    unsure = replace(FACTS, p_kilonova=0.89)
    assert decide(policy, unsure, "hermes", is_public=True).why == "rule 'all held'"
    assert decide(policy, FACTS, "tom", is_public=False).action is Action.HOLD


@pytest.mark.parametrize(
    ("condition", "unknown"),
    [
        ({"classes": {"BNS": 0.1}}, {"classification": {}}),
        ({"max_far_hz": 1e-9}, {"far_hz": None}),
        ({"max_area_90_deg2": 100.0}, {"area_90_deg2": None}),
        ({"max_distance_mpc": 100.0}, {"distance_mpc": None}),
        ({"min_p_kilonova": 0.5}, {"p_kilonova": None}),
        ({"significant": True}, {"significant": None}),
    ],
)
def test_what_is_not_known_lets_nothing_out(
    condition: dict[str, Any], unknown: dict[str, Any]
) -> None:
    policy = Policy((Rule("r", ("hermes",), Action.SEND, **condition),))
    assert decide(policy, FACTS, "hermes", is_public=True).action is Action.SEND
    facts = replace(FACTS, **unknown)
    assert decide(policy, facts, "hermes", is_public=True).action is Action.HOLD


def test_a_rule_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        '[[rule]]\nname = "sure"\nsinks = ["hermes"]\naction = "send"\n'
        "classes = { BNS = 0.5, NSBH = 1 }\nsignificant = true\nmax_far_hz = 1e-9\n"
    )
    (rule,) = load_policy(str(path)).rules
    assert rule.classes == {"BNS": 0.5, "NSBH": 1.0}
    assert rule.holds(FACTS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rule = 3", "list"),
        ("[[rules]]\nname='x'", "rules"),
        ("[[rule]]\nname='x'\nsinks=['a']\naction='sent'", "action"),
        ("[[rule]]\nname='x'\nsinks='a'\naction='send'", "sinks"),
        ("[[rule]]\nname='x'\nsinks=['a']\naction='send'\nclass={BNS=1}", "class"),
        ("[[rule]]\nname='x'\naction='send'", "sinks"),
        ("[[rule]]\nname='x'\nsinks=['a']\naction='send'\nmax_far_hz='small'", "max_far_hz"),
        ("[[rule]]\nname='x'\nsinks=['a']\naction='send'\nmin_p_kilonova=nan", "min_p_kilonova"),
        ("[[rule]\n", "policy"),
    ],
)
def test_a_rule_that_is_wrong_is_an_error_that_names_it(
    tmp_path: Path, text: str, says: str
) -> None:
    """A misspelt condition would otherwise let everything out."""
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_policy(str(path))


# -- the outbox --------------------------------------------------------------------------


@dataclass
class Public:
    """A public production service."""

    name: str = "hermes"
    is_practice: bool = False
    is_public: bool = True
    granularity: Granularity = Granularity.PLAN
    settle_s: float = 0.0
    sent: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)

    def payload(self, outgoing: Outgoing) -> Payload:
        return {"key": outgoing.key}

    def send(self, payload: Payload, *, key: str) -> Answer:
        self.sent.append(key)
        return Answer(Outcome.SENT, "1")

    def lookup(self, payload: Payload, *, key: str) -> Answer | None:
        return None

    def withdraw(self, payload: Payload, *, key: str, remote_id: str | None) -> Answer:
        self.withdrawn.append(key)
        return Answer(Outcome.SENT)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = migrated(f"sqlite:///{tmp_path / 'mmcoord.db'}")
    yield database
    database.close()


@pytest.fixture
def service() -> Public:
    return Public()


@pytest.fixture
def ctx(database: Database, tmp_path: Path, service: Public) -> Context:
    base = make_context(database, tmp_path / "out")
    settings = replace(base.settings, sinks={"hermes": SinkSettings("hermes", practice=False)})
    return replace(base, settings=settings, sinks={"hermes": service}, now=lambda: NOW)


def plan(ctx: Context, revision: int = 1, **more: Any) -> None:
    publish(ctx, ["a"], revision, practice=False, **more)


def states(ctx: Context) -> list[tuple[str, str]]:
    with ctx.database.read() as session:
        found = session.execute(select(DeliveryRow).order_by(DeliveryRow.id)).scalars()  # type: ignore[arg-type]
        return [(row.key.split(":")[0], row.state) for row in found]


def say(ctx: Context, decision: str, **more: Any) -> None:
    with ctx.database.write() as session:
        approvals.answer(session, "S1", "hermes", decision, by="night shift", now=NOW, **more)


def test_nothing_public_goes_out_before_a_person_has_approved(
    ctx: Context, service: Public
) -> None:
    plan(ctx)
    while deliver.run(ctx):
        pass
    assert states(ctx) == [("publish", "held")]
    assert service.sent == []
    say(ctx, "approve")
    while deliver.run(ctx):
        pass
    assert states(ctx) == [("publish", "sent")]
    assert len(service.sent) == 1


def test_a_rejected_message_is_never_sent(ctx: Context, service: Public) -> None:
    plan(ctx)
    say(ctx, "reject", note="too early")
    while deliver.run(ctx):
        pass
    assert states(ctx) == [("publish", "refused")]
    assert service.sent == []
    with pytest.raises(UnknownRecord, match="nothing"):
        say(ctx, "approve")


def test_an_approval_is_for_one_revision_unless_it_says_otherwise(
    ctx: Context, service: Public
) -> None:
    plan(ctx)
    say(ctx, "approve")
    deliver.run(ctx)
    plan(ctx, 2)
    assert states(ctx)[-1] == ("publish", "held")
    say(ctx, "approve", is_standing=True)
    deliver.run(ctx)
    plan(ctx, 3)
    deliver.run(ctx)
    assert states(ctx)[-1] == ("publish", "sent")
    assert len(service.sent) == 3


def test_a_newer_revision_takes_the_place_of_one_that_waits(ctx: Context, service: Public) -> None:
    plan(ctx)
    plan(ctx, 2)
    assert states(ctx) == [("publish", "superseded"), ("publish", "held")]


def test_a_rule_lets_out_what_it_names(ctx: Context, service: Public) -> None:
    rule = Rule("initial alerts", ("hermes",), Action.SEND, alert_types=("INITIAL",))
    allowed = replace(ctx, policy=Policy((rule,)))
    plan(allowed)
    deliver.run(allowed)
    assert states(ctx) == [("publish", "sent")]


def test_what_is_out_is_taken_back_without_asking(ctx: Context, service: Public) -> None:
    plan(ctx)
    say(ctx, "approve")
    deliver.run(ctx)
    plan(ctx, 2, state=EventState.RETRACTED)
    deliver.run(ctx)
    assert len(service.withdrawn) == 1


def test_what_waits_is_dropped_when_the_event_is_retracted(ctx: Context, service: Public) -> None:
    plan(ctx)
    plan(ctx, 2, state=EventState.RETRACTED)
    assert states(ctx) == [("publish", "superseded")]
    assert service.withdrawn == []


def test_a_person_approves_over_the_api_the_page_and_the_command_line(
    ctx: Context, service: Public
) -> None:
    ctx = replace(ctx, now=lambda: datetime.now(UTC))  # the application has no other clock
    claimer = make_token(ctx.database, "ztf", Scope.CLAIM)
    chief = make_token(ctx.database, "chief", Scope.APPROVE)
    body = {"event_id": "S1", "sink": "hermes", "decision": "approve"}
    with TestClient(create_app(ctx.database, ctx.settings, list), follow_redirects=False) as web:
        plan(ctx)
        assert web.post("/api/v1/approvals", json=body, headers=claimer).status_code == 403
        (waiting,) = web.get("/api/v1/approvals", headers=chief).json()
        assert waiting["payload"] == {"key": waiting["key"]}
        assert web.post("/api/v1/approvals", json=body, headers=chief).status_code == 200
        deliver.run(ctx)
        plan(ctx, 2)
        token = chief["Authorization"].split()[1]
        web.post("/signin", content=urlencode({"token": token}))
        page = web.get("/events/S1").text
        word = page.split('name="word" value="')[1].split('"')[0]
        form = {"word": word, "event_id": "S1", "sink": "hermes", "decision": "approve"}
        assert web.post("/approvals", content=urlencode(form | {"word": "x"})).status_code == 403
        assert web.post("/approvals", content=urlencode(form)).status_code == 303
        deliver.run(ctx)
    plan(ctx, 3)
    db = ["--db", str(ctx.database.url.database)]
    assert "revision 3" in CliRunner().invoke(app, ["held", *db]).stdout
    done = CliRunner().invoke(app, ["approve", "S1", "hermes", "--by", "me", *db])
    assert "approved by me" in done.stdout
    deliver.run(ctx)
    assert len(service.sent) == 3


def test_a_form_is_filled_in_for_a_person_and_nothing_is_published(
    ctx: Context, service: Public, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hermes = FakeHermes()
    client = httpx.Client(transport=httpx.MockTransport(hermes))
    monkeypatch.setattr(httpx, "Client", lambda: client)
    monkeypatch.setenv("TEST_HERMES_TOKEN", HERMES_TOKEN)
    config = tmp_path / "mmcoord.toml"
    config.write_text(
        '[sinks.hermes]\nkind = "hermes"\npractice = false\n[sinks.hermes.options]\n'
        'token_env = "TEST_HERMES_TOKEN"\nsubmitter = "us"\ntopic = "us.plans"\n'
        f'[sinks.folder]\nkind = "file"\n[sinks.folder.options]\nfolder = "{tmp_path}"\n'
    )
    plan(ctx)
    words = ["--config", str(config), "--db", str(ctx.database.url.database)]
    done = CliRunner().invoke(app, ["preload", "S1", "hermes", *words])
    assert done.stdout.strip() == "https://hermes.lco.global/submit-message?id=0a0b", done.exception
    assert hermes.published == []


# -- practice and production -------------------------------------------------------------


KINDS = sorted(point.name for point in entry_points(group="mmcoord.sinks"))


def _unreachable(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"a practice event reached {request.url}")


@pytest.mark.parametrize(
    "kind", sorted(point.name for point in entry_points(group="mmcoord.sinks"))
)
@pytest.mark.parametrize("allowing", [False, True])
def test_no_practice_event_reaches_a_production_sink_of_any_kind(
    kind: str, allowing: bool, ctx: Context, tmp_path: Path
) -> None:
    """Whatever rules and people say: the wall is in the outbox and again before each sending."""
    options = dict(PRODUCTION.get(kind, TABLES.get(kind, {})))
    if kind == "file":
        options["folder"] = str(tmp_path / "production")
    settings = replace(ctx.settings, sinks={kind: SinkSettings(kind, False, options)})
    client = httpx.Client(transport=httpx.MockTransport(_unreachable))
    rule = Rule("everything", ("*",), Action.SEND)
    walled = replace(
        ctx,
        settings=settings,
        sinks=load_sinks(settings, client),
        policy=Policy((rule,) if allowing else ()),
    )
    assert not walled.sinks[kind].is_practice
    publish(walled, ["a"], practice=True)
    assert states(walled) == [("publish", "refused")]
    # Even a delivery that was written as real, of an event that turns out to be practice:
    with walled.database.write() as session:
        session.add(
            DeliveryRow(
                key="smuggled",
                kind="publish",
                sink=kind,
                event_id="S1",
                plan_revision=1,
                target="",
                is_practice=True,
                payload={},
                created_at=NOW,
                next_attempt_at=NOW,
            )
        )
    while deliver.run(walled):
        pass
    assert {state for _, state in states(walled)} == {"refused"}
    folder = tmp_path / "production"
    assert not folder.exists() or list(folder.iterdir()) == []


PRODUCTION: dict[str, dict[str, Any]] = {
    kind: TABLES[kind] | {"topic": "mmcoord.plans"} for kind in ("hermes", "kafka")
}
"""Options with which a kind is a production sink, where the contract's are for practice."""


def test_every_kind_of_sink_says_whether_it_is_public() -> None:
    client = httpx.Client(transport=httpx.MockTransport(_unreachable))
    public = set()
    for point in entry_points(group="mmcoord.sinks"):
        options = dict(PRODUCTION.get(point.name, TABLES.get(point.name, {})))
        if point.name == "file":
            continue
        sink = point.load()(point.name, options | {"practice": False}, client)
        if sink.is_public:
            public.add(point.name)
    assert "hermes" in public
    assert public.isdisjoint({"tom", "slack"})
