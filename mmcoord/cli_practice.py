"""``mmcoord practice``: simulated streams through the real way, and how they went."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

from mmcoord.cli_common import ConfigOption, DbOption, JsonOption, note, pipeline, print_json
from mmcoord.errors import ConfigError

__all__ = ["practice"]

What = Literal["night", "superevent", "supernova", "track", "grb"]
Class = Literal["BNS", "NSBH", "BBH", "burst"]
Layout = Literal["table", "rubin", "fink"]

_ONE = "One event"
_STREAM = "A stream"
_BURST = "A supernova"


def practice(
    what: Annotated[
        What,
        typer.Argument(
            help="A stream of nights, one superevent, a neutrino burst, a neutrino track, "
            "a superevent with a gamma-ray burst."
        ),
    ] = "night",
    seconds: Annotated[
        float, typer.Option(help="Length of the stream.", rich_help_panel=_STREAM)
    ] = 60.0,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Messages per second: 200 for nights, else as fast as they are taken.",
            metavar="HZ",
        ),
    ] = None,
    origin: Annotated[
        Class, typer.Option("--class", help="Of the superevent.", rich_help_panel=_ONE)
    ] = "BNS",
    retract: Annotated[
        bool, typer.Option("--retract", help="Take it back at the end.", rich_help_panel=_ONE)
    ] = False,
    promote: Annotated[
        bool,
        typer.Option(
            "--promote", help="First of low significance, then significant.", rich_help_panel=_ONE
        ),
    ] = False,
    candidates: Annotated[
        int, typer.Option(help="How many around it.", min=2, rich_help_panel=_ONE)
    ] = 300,
    layout: Annotated[
        Layout, typer.Option("--format", help="How candidates are sent.", rich_help_panel=_ONE)
    ] = "table",
    kafka: Annotated[
        str | None,
        typer.Option(
            help="Onto this broker (topics practice.SOURCE) instead of straight in.",
            metavar="HOST:PORT",
            rich_help_panel=_ONE,
        ),
    ] = None,
    distance_kpc: Annotated[
        float | None,
        typer.Option(help="Instead of the star's own distance.", rich_help_panel=_BURST),
    ] = None,
    detectors: Annotated[
        str,
        typer.Option(
            help="Who sees it, as SNEWS spells them, with commas.", rich_help_panel=_BURST
        ),
    ] = "",
    seed: Annotated[int, typer.Option(help="Same seed, same stream.")] = 1,
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate a stream, send it through the whole way, and say how it went."""
    if kafka is not None and what == "night":
        raise ConfigError("kafka: a stream of nights is not sent; use superevent, grb or track")
    document: dict[str, Any]
    if what in ("night", "supernova"):
        with pipeline(config, db) as (ctx, stages):
            if what == "night":
                document = _nights(ctx, stages, seconds, rate or 200.0, seed)
            else:
                document = _supernova(ctx, stages, seed, distance_kpc, detectors)
    else:
        document = _one(
            what, origin, retract, promote, candidates, layout, kafka, rate, seed, config, db
        )
    if as_json:
        print_json(document)
    else:
        for key, value in document.items():
            print(f"{key:>22}: {json.dumps(value)}")


def _nights(ctx: Any, stages: Any, seconds: float, rate_hz: float, seed: int) -> dict[str, Any]:
    from mmcoord.practice import score, stream

    nights = stream(ctx, stages, seconds=seconds, rate_hz=rate_hz, seed=seed, say=note)
    return score(ctx, nights)


def _supernova(
    ctx: Any, stages: Any, seed: int, distance_kpc: float | None, detectors: str
) -> dict[str, Any]:
    from mmcoord.practice_burst import play_burst
    from mmcoord.simulate.burst import DETECTORS

    names = [name.strip() for name in detectors.split(",") if name.strip()]
    return play_burst(
        ctx,
        stages,
        seed=seed,
        distance_kpc=distance_kpc,
        detectors=names or DETECTORS,
        say=note,
    )


def _one(
    what: What,
    origin: Class,
    retract: bool,
    promote: bool,
    candidates: int,
    layout: Layout,
    kafka: str | None,
    rate_hz: float | None,
    seed: int,
    config: Any,
    db: str | None,
) -> dict[str, Any]:
    from mmcoord.practice_scenario import NOTE, play_scenario, play_track, send
    from mmcoord.simulate.night import make_night
    from mmcoord.simulate.sources import Origin, Scenario
    from mmcoord.simulate.track import make_track

    if what == "track":
        track = make_track(seed, n_candidates=candidates, fmt=layout)
        event_id, messages = track.event_id, track.messages
    else:
        scenario = Scenario(Origin(origin), promote, retract, with_grb=what == "grb")
        night = make_night(seed, n_candidates=candidates, scenario=scenario, fmt=layout)
        event_id, messages = night.truth.event_id, night.messages
    note(f"practice: {event_id}, {len(messages)} messages; {NOTE}")
    if kafka is not None:
        return {"event": event_id, "broker": kafka, "topics": send(messages, kafka), "note": NOTE}
    with pipeline(config, db) as (ctx, stages):
        if what == "track":
            return dict(play_track(ctx, stages, track, rate_hz))
        return dict(play_scenario(ctx, stages, night, rate_hz))
