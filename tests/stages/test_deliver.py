"""The outbox: each message once, practice apart from real, and a crash between two commits."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from followup.sinks.base import Answer, Granularity, Outcome, Payload
from mmcoord.config import SinkSettings
from mmcoord.records import AlertType, EventState, Outgoing, PlanRow
from mmcoord.stages import deliver, outbox
from mmcoord.stages.context import Context
from mmcoord.stages.planrows import row_to_json
from mmcoord.store.database import Database
from mmcoord.store.tables import (
    DeadLetterRow,
    DeliveryRow,
    EventRow,
    PlanRevisionRow,
    RequestRow,
)
from tests.making import make_context

NOW = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)


@dataclass
class Service:
    """A service outside that keeps what it was sent; ``script`` says what goes wrong."""

    name: str = "service"
    is_practice: bool = True
    is_public: bool = False
    granularity: Granularity = Granularity.TARGET
    settle_s: float = 0.0
    script: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)

    def payload(self, outgoing: Outgoing) -> Payload:
        return {"key": outgoing.key, "targets": [row.object_id for row in outgoing.rows]}

    def send(self, payload: Payload, *, key: str) -> Answer:
        trouble = self.script.pop(0) if self.script else ""
        if trouble == "refuses for now":
            return Answer(Outcome.RETRY, retry_after_s=7)
        if trouble == "never takes it":
            return Answer(Outcome.REJECTED, detail="no")
        if trouble == "raises":
            raise RuntimeError("a bug in the sink")
        self.held.append(key)
        if trouble == "takes it and says nothing":
            return Answer(Outcome.UNKNOWN)
        if trouble == "takes it and we die":
            raise KeyboardInterrupt
        return Answer(Outcome.SENT, remote_id=f"remote-{key}")

    def lookup(self, payload: Payload, *, key: str) -> Answer | None:
        found = key in self.held
        return Answer(Outcome.SENT, f"remote-{key}") if found else Answer(Outcome.RETRY)

    def withdraw(self, payload: Payload, *, key: str, remote_id: str | None) -> Answer:
        self.withdrawn.append(key)
        return Answer(Outcome.SENT)


def row(rank: int, object_id: str) -> PlanRow:
    factors: Mapping[str, float | None] = {"membership": 0.5}
    return PlanRow(
        rank=rank,
        object_id=object_id,
        ra_deg=10.0,
        dec_deg=-10.0,
        score=0.5 / rank,
        factors=factors,
        reasons={"membership": "near the peak"},
        credible_level_2d=0.5,
        credible_level_3d=None,
        p_kilonova=None,
        run_key=None,
        instrument="x",
        band="r",
        start=NOW,
        exposure_s=60.0,
        predicted_mag=None,
        distance_mpc=None,
        distance_err_mpc=None,
    )


class Clock:
    """A wall clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def context(database: Database, folder: Path, service: Service, clock: Clock) -> Context:
    return replace(make_context(database, folder), sinks={"service": service}, now=clock)


def publish(
    ctx: Context,
    names: list[str],
    revision: int = 1,
    *,
    practice: bool = True,
    state: EventState = EventState.ACTIVE,
) -> None:
    with ctx.database.write() as session:
        event = session.merge(
            EventRow(
                event_id="S1",
                messenger="GW",
                state=state.value,
                is_practice=practice,
                alert_type=AlertType.INITIAL.value,
                first_received_at=NOW,
                updated_at=NOW,
            )
        )
        plan = PlanRevisionRow(
            event_id="S1",
            revision=revision,
            content_sha256=str(revision),
            planned_for=NOW,
            n_targets=len(names),
            objective=1.0,
            created_at=NOW,
        )
        session.add(plan)
        rows = [row(i + 1, name) for i, name in enumerate(names)]
        session.add_all(
            RequestRow(
                event_id="S1",
                revision=revision,
                rank=one.rank,
                object_id=one.object_id,
                score=one.score,
                row=row_to_json(one),
            )
            for one in rows
        )
        session.flush()
        outbox.write_deliveries(ctx, session, event, plan, rows)


def states(database: Database) -> dict[str, str]:
    with database.read() as session:
        return {d.key: d.state for d in session.execute(select(DeliveryRow)).scalars()}


def deliver_all(ctx: Context) -> None:
    while deliver.run(ctx):
        pass


def test_each_target_is_sent_once(database: Database, tmp_path: Path, clock: Clock) -> None:
    service = Service()
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a", "b"])
    deliver_all(ctx)
    deliver_all(ctx)
    assert sorted(service.held) == ["publish:service:S1:1:a", "publish:service:S1:1:b"]
    assert set(states(database).values()) == {"sent"}


def test_a_sink_for_the_operators_alone_gets_no_plans(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    service = Service()
    ctx = context(database, tmp_path, service, clock)
    alone = SinkSettings("service", practice=True, plans=False)
    ctx = replace(ctx, settings=replace(ctx.settings, sinks={"service": alone}))
    publish(ctx, ["a", "b"])
    deliver_all(ctx)
    assert service.held == []
    assert states(database) == {}


@dataclass
class Meeting(Service):
    """Takes two at once, and notes how many of a call's neighbours it has met."""

    at_once: int = 2
    met: list[bool] = field(default_factory=list)
    door: threading.Barrier = field(default_factory=lambda: threading.Barrier(2))

    def send(self, payload: Payload, *, key: str) -> Answer:
        try:
            self.door.wait(0.3)
            self.met.append(True)
        except threading.BrokenBarrierError:
            self.met.append(False)
            self.door.reset()
        return Service.send(self, payload, key=key)


def test_what_was_said_before_is_said_again_side_by_side_and_nothing_else(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    service = Meeting()
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a", "b"])
    deliver_all(ctx)
    assert service.met == [False, False]  # targets that are new there
    publish(ctx, ["b", "a"], revision=2)
    deliver_all(ctx)
    assert service.met == [False, False, True, True]
    assert len(set(service.held)) == len(service.held) == 4
    assert set(states(database).values()) == {"sent"}


def test_a_message_whose_answer_was_lost_is_looked_up_not_repeated(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    service = Service(script=["takes it and says nothing"])
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a"])
    deliver_all(ctx)
    assert states(database) == {"publish:service:S1:1:a": "unknown"}
    clock.now += timedelta(minutes=1)
    deliver_all(ctx)
    assert states(database) == {"publish:service:S1:1:a": "sent"}
    assert len(service.held) == 1


def test_a_crash_between_sending_and_recording_does_not_repeat(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    service = Service(script=["takes it and we die"])
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a"])
    with pytest.raises(KeyboardInterrupt):
        deliver.run(ctx)
    assert states(database) == {"publish:service:S1:1:a": "sending"}
    deliver.recover(ctx)  # the next start
    deliver_all(ctx)
    assert states(database) == {"publish:service:S1:1:a": "sent"}
    assert len(service.held) == 1


def test_an_archive_that_lags_is_not_asked_too_early(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    service = Service(script=["takes it and we die"], settle_s=90.0)
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a"])
    with pytest.raises(KeyboardInterrupt):
        deliver.run(ctx)
    deliver.recover(ctx)
    assert deliver.run(ctx) == 0
    clock.now += timedelta(seconds=90)
    deliver_all(ctx)
    assert len(service.held) == 1


def test_the_service_is_not_asked_again_before_it_said(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    service = Service(script=["refuses for now"])
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a"])
    deliver_all(ctx)
    clock.now += timedelta(seconds=6)
    assert deliver.run(ctx) == 0
    clock.now += timedelta(seconds=1)
    deliver_all(ctx)
    assert states(database) == {"publish:service:S1:1:a": "sent"}


def test_a_rejection_is_final_and_kept_with_its_reason(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    ctx = context(database, tmp_path, Service(script=["never takes it"]), clock)
    publish(ctx, ["a", "b"])
    deliver_all(ctx)
    assert sorted(states(database).values()) == ["failed", "sent"]
    with database.read() as session:
        (letter,) = session.execute(select(DeadLetterRow)).scalars()
    assert "publish:service:S1:1:a" in letter.reason


def test_a_bug_in_one_sink_does_not_stop_the_next_delivery(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    service = Service(script=["raises"])
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a", "b"])
    deliver_all(ctx)
    assert service.held == ["publish:service:S1:1:b"]
    clock.now += timedelta(minutes=1)
    deliver_all(ctx)
    assert set(states(database).values()) == {"sent"}


@pytest.mark.parametrize(("event_is_practice", "sink_is_practice"), [(True, False), (False, True)])
def test_practice_and_real_never_mix(
    database: Database,
    tmp_path: Path,
    clock: Clock,
    event_is_practice: bool,
    sink_is_practice: bool,
) -> None:
    service = Service(is_practice=sink_is_practice)
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a"], practice=event_is_practice)
    deliver_all(ctx)
    assert service.held == []
    assert list(states(database).values()) == ["refused"]


def test_a_sink_that_changes_sides_refuses_what_was_queued(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    ctx = context(database, tmp_path, Service(), clock)
    publish(ctx, ["a"])
    production = Service(is_practice=False)
    deliver_all(context(database, tmp_path, production, clock))
    assert production.held == []
    assert list(states(database).values()) == ["refused"]


def test_a_newer_revision_supersedes_what_was_not_sent(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    service = Service()
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a"], revision=1)
    publish(ctx, ["b", "a"], revision=2)
    deliver_all(ctx)
    assert states(database)["publish:service:S1:1:a"] == "superseded"
    assert sorted(service.held) == ["publish:service:S1:2:a", "publish:service:S1:2:b"]


def test_a_target_that_fell_out_of_the_best_is_told_its_new_rank(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    service = Service()
    ctx = context(database, tmp_path, service, clock)
    names = [f"t{i}" for i in range(12)]
    publish(ctx, names, revision=1)
    deliver_all(ctx)
    publish(ctx, names[::-1], revision=2)
    deliver_all(ctx)
    second = {key.rpartition(":")[2] for key in service.held if ":2:" in key}
    # ten new places, and the two that fell out; those that stayed where they were are spared
    assert second == set(names)
    held = len(service.held)
    publish(ctx, names[::-1], revision=3)
    deliver_all(ctx)
    assert len(service.held) == held  # nothing has changed for anybody


def test_a_publication_in_flight_at_the_retraction_does_not_come_back(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    service = Service(script=["refuses for now"])
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a"])
    deliver_all(ctx)
    publish(ctx, [], revision=2, state=EventState.RETRACTED)
    clock.now += timedelta(minutes=5)
    deliver_all(ctx)
    assert service.held == []
    assert states(database)["publish:service:S1:1:a"] == "superseded"


def test_what_arrived_unseen_before_the_retraction_is_withdrawn_when_it_is_found(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    service = Service(script=["takes it and we die"])
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a"])
    with pytest.raises(KeyboardInterrupt):
        deliver.run(ctx)
    publish(ctx, [], revision=2, state=EventState.RETRACTED)
    deliver.recover(ctx)
    deliver_all(ctx)
    assert service.withdrawn == ["publish:service:S1:1:a"]
    assert len(service.held) == 1


def test_an_older_revision_never_follows_a_newer_one(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    service = Service(script=["refuses for now"])
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a"], revision=1)
    deliver_all(ctx)
    publish(ctx, ["a"], revision=2)
    clock.now += timedelta(minutes=5)
    deliver_all(ctx)
    assert service.held == ["publish:service:S1:2:a"]


@pytest.mark.parametrize("plans_meanwhile", [1, 3])  # more where the sink is slow, or away
def test_a_target_that_left_the_plan_is_withdrawn_once(
    database: Database, tmp_path: Path, clock: Clock, plans_meanwhile: int
) -> None:
    service = Service()
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a", "b"], revision=1)
    deliver_all(ctx)
    for k in range(plans_meanwhile):
        publish(ctx, ["b"], revision=2 + k)
    deliver_all(ctx)
    assert service.withdrawn == ["publish:service:S1:1:a"]


def test_what_was_published_as_real_is_withdrawn_as_real(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    service = Service(is_practice=False)
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a"], practice=False)
    deliver_all(ctx)
    publish(ctx, [], revision=2, practice=True, state=EventState.RETRACTED)
    deliver_all(ctx)
    assert service.withdrawn == ["publish:service:S1:1:a"]


def test_a_replay_repeats_nothing_real(database: Database, tmp_path: Path, clock: Clock) -> None:
    service = Service(is_practice=False)
    ctx = context(database, tmp_path, service, clock)
    ctx = replace(ctx, settings=replace(ctx.settings, send_real=False))
    publish(ctx, ["a"], practice=False)
    deliver_all(ctx)
    assert service.held == []
    assert list(states(database).values()) == ["refused"]


def test_a_retraction_withdraws_everything_once(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    service = Service()
    ctx = context(database, tmp_path, service, clock)
    publish(ctx, ["a", "b"])
    deliver_all(ctx)
    publish(ctx, [], revision=2, state=EventState.RETRACTED)
    deliver_all(ctx)
    publish(ctx, [], revision=3, state=EventState.RETRACTED)  # the retraction again
    deliver_all(ctx)
    assert sorted(service.withdrawn) == ["publish:service:S1:1:a", "publish:service:S1:1:b"]
    published = {k: s for k, s in states(database).items() if k.startswith("publish")}
    assert set(published.values()) == {"withdrawn"}


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 2.0), (2, 4.0), (8, 256.0), (9, 512.0), (10, 600.0), (99, 600.0)]
)
def test_backoff_doubles_up_to_ten_minutes(attempts: int, seconds: float) -> None:
    assert deliver.backoff(attempts) == timedelta(seconds=seconds)
