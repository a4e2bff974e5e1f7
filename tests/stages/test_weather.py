"""The weather from a real HTTP server to the plan: conditional, kept, told when it is stale."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

import skymaps
from listeners.polling import HttpListener
from listeners.settings import ListenerState, ListenerStatus
from mmcoord.config import PlanSettings, Settings
from mmcoord.errors import ConfigError
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.stages.pipeline import Pipeline
from mmcoord.store.database import Database
from mmcoord.store.reading import newest_plan
from mmcoord.store.tables import NoticeRow, WorkRow
from mmcoord.store.tiles import newest_tiles
from mmcoord.store.weather import known_weather
from mmcoord.watchdog.runner import Watchdog
from mmcoord.wiring import build_listener
from tests.listeners.web_service import Asked, Reply, Service, Waits, serving
from tests.making import T0, StandInExecutor, gaussian_map, lvk_notice, make_context, send
from tests.stores import migrated

EVENT = "MS260301a"
NIGHT = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-03T00:00:00Z", "source": "all-sky camera"}


class Station:
    """A service of the weather, with validators as RFC 9110 has them."""

    def __init__(self, usable: float) -> None:
        self.tell(usable)

    def tell(self, usable: float, site: str = "cerro-tololo") -> None:
        self.body = json.dumps({site: [NIGHT | {"usable": usable}]}).encode()
        self.tag = f'"{usable}"'
        self.status = 200

    def __call__(self, asked: Asked) -> Reply:
        if self.status != 200:
            return Reply(self.status)
        if asked.headers.get("if-none-match") == self.tag:
            return Reply(304)
        return Reply(200, self.body, {"ETag": self.tag})


@pytest.fixture
def store(sqlite_url: str) -> Database:
    return migrated(sqlite_url)


@pytest.fixture
def station() -> Station:
    return Station(0.5)


@pytest.fixture
def ctx(store: Database, tmp_path: Path, station: Station) -> Any:
    """An event that is searched with one camera, and the weather from a server."""
    with serving(station) as service:
        settings = PlanSettings(
            debounce_s=0.0, instruments=("decam",), weather=f"{service.url}/w.json?site=all"
        )
        made = make_context(store, tmp_path, plan=settings)
        # The weather is for the events of the wall clock; these are of the data's.
        now = T0 + timedelta(hours=1)
        made = dataclasses.replace(made, now=lambda: now)
        fits = skymaps.to_fits_bytes(gaussian_map())
        send(made, [("igwn", lvk_notice(EVENT, skymap=fits))])
        work(made)
        yield made, service


def work(ctx: Context) -> None:
    pipeline = Pipeline(ctx, StandInExecutor())
    pipeline.drain()
    pipeline.close()


def poll(ctx: Context, turns: int = 1) -> ListenerStatus:
    """So many rounds of the listener that the settings make; what it then says of itself."""
    (wanted,) = ctx.settings.heard.values()
    listener = build_listener(ctx, "weather", wanted, lambda status: None)
    assert isinstance(listener, HttpListener)
    seen: list[ListenerStatus] = []
    stop = Waits(turns)
    listener._on_status = seen.append
    listener.run(stop)
    return next(s for s in reversed(seen) if s.state is not ListenerState.STOPPED)


def best_tile(ctx: Context) -> float:
    with ctx.database.read() as session:
        return max((tile.score for tile in newest_tiles(session, EVENT)), default=0.0)


def objective(ctx: Context) -> float:
    with ctx.database.read() as session:
        plan = newest_plan(session, EVENT)
        assert plan is not None
        return plan.objective


def test_weather_over_http_changes_the_plan(ctx: tuple[Context, Service]) -> None:
    context, service = ctx
    before = objective(context)
    assert poll(context).state is ListenerState.RUNNING
    work(context)
    # Every night in it is usable with one half: so is all that the plan is worth, less the price.
    assert objective(context) == pytest.approx(0.5 * before, rel=0.1)
    assert service.asked[0].query == [("site", "all")]
    with context.database.read() as session:
        spells = known_weather(session, str(context.settings.plan.weather))
    assert [(s.usable, s.source) for s in spells["cerro-tololo"]] == [(0.5, "all-sky camera")]


def test_what_has_not_changed_costs_the_service_nothing_and_asks_for_no_plan(
    ctx: tuple[Context, Service], station: Station
) -> None:
    context, service = ctx
    poll(context)
    work(context)
    poll(context, turns=3)
    assert [asked.headers.get("if-none-match") for asked in service.asked][1:] == ['"0.5"'] * 3
    assert waiting(context) == []
    assert notices(context) == 1
    station.tell(0.0)
    poll(context)
    intake.run(context)
    assert waiting(context) == [EVENT]
    work(context)
    assert objective(context) == 0.0
    station.tell(0.5)  # again as it was: news all the same
    poll(context)
    work(context)
    assert objective(context) > 0.0
    assert notices(context) == 3


def waiting(ctx: Context) -> list[str]:
    with ctx.database.read() as session:
        return list(
            session.execute(
                select(col(WorkRow.key)).where(
                    col(WorkRow.stage) == "plan", col(WorkRow.requested) > col(WorkRow.done)
                )
            ).scalars()
        )


def notices(ctx: Context) -> int:
    with ctx.database.read() as session:
        found = session.execute(select(NoticeRow).where(col(NoticeRow.source) == "weather"))
        return len(list(found))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "not an object of sites"),
        (json.dumps({"keck": [NIGHT | {"usable": 2}]}).encode(), "keck entry 1: usable: 2"),
    ],
)
def test_an_answer_that_cannot_be_read_is_told_and_the_last_good_one_counts(
    ctx: tuple[Context, Service], station: Station, body: bytes, words: str
) -> None:
    context, _ = ctx
    poll(context)
    work(context)
    good = objective(context)
    station.body, station.tag = body, '"bad"'
    status = poll(context)
    assert status.state is ListenerState.WAITING
    assert words in status.last_error
    work(context)
    assert objective(context) == good
    assert notices(context) == 1


def test_a_service_that_is_away_for_long_is_an_alarm(
    ctx: tuple[Context, Service], station: Station
) -> None:
    context, _ = ctx
    station.status = 500
    status = poll(context)
    assert "HTTP 500" in status.last_error
    begun = context.now()
    clock = [begun]
    watched = dataclasses.replace(context, now=lambda: clock[0])
    watchdog = Watchdog(watched, lambda: {"weather": status})
    watchdog.step()
    assert standing(context) == []
    clock[0] = begun + timedelta(minutes=31)
    watchdog.step()
    (text,) = standing(context)
    assert "has not been obtained for 31 min" in text
    assert "HTTP 500" in text


def test_weather_of_which_all_is_over_is_an_alarm(ctx: tuple[Context, Service]) -> None:
    context, _ = ctx
    status = poll(context)
    work(context)
    later = datetime(2026, 3, 3, 1, 0, tzinfo=UTC)
    Watchdog(dataclasses.replace(context, now=lambda: later), lambda: {"weather": status}).step()
    (text,) = standing(context)
    assert "all that it says ended 60 min ago" in text or "ended 1" in text


def standing(ctx: Context) -> list[str]:
    from mmcoord.store.alarms import open_alarms

    with ctx.database.read() as session:
        return [line.text for line in open_alarms(session) if line.key == "weather weather"]


def test_the_daemons_listener_is_made_of_the_address_alone() -> None:
    settings = Settings(plan=PlanSettings(weather="https://example.org/w.json"))
    assert list(settings.heard) == ["weather"]
    assert list(Settings(plan=PlanSettings(weather="weather.json")).heard) == []
    with pytest.raises(ConfigError, match=r"listeners\.weather"):
        Settings(
            plan=PlanSettings(weather="https://example.org/w.json"),
            listeners=dict(settings.heard),
        )


def test_a_login_in_the_address_and_plain_http_abroad_are_refused(
    store: Database, tmp_path: Path
) -> None:
    for address in ("http://example.org/w.json", "https://user:secret@example.org/w.json"):
        wanted = PlanSettings(weather=address)
        made = make_context(store, tmp_path, plan=wanted)
        (listener,) = made.settings.heard.values()
        with pytest.raises(ConfigError, match="weather: url"):
            build_listener(made, "weather", listener, lambda status: None)
