"""``mmcoord practice``: simulated streams through the real way, and how they went."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from mmcoord.cli_common import ConfigOption, DbOption, JsonOption, note, pipeline, print_json

__all__ = ["practice"]

What = Literal["night", "supernova"]


def practice(
    what: Annotated[
        What, typer.Argument(help="A night of candidates with a merger, or a neutrino burst.")
    ] = "night",
    seconds: Annotated[float, typer.Option(help="Length of the stream (night).")] = 60.0,
    rate: Annotated[float, typer.Option(help="Messages per second (night).", metavar="HZ")] = 200.0,
    distance_kpc: Annotated[
        float | None, typer.Option(help="Instead of the star's own distance (supernova).")
    ] = None,
    detectors: Annotated[
        str, typer.Option(help="Who sees it, as SNEWS spells them, with commas (supernova).")
    ] = "",
    seed: Annotated[int, typer.Option(help="Same seed, same stream.")] = 1,
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate a stream, send it through the whole way, and say how it went."""
    from mmcoord.practice import score, stream
    from mmcoord.practice_burst import play_burst
    from mmcoord.simulate.burst import DETECTORS

    with pipeline(config, db) as (ctx, stages):
        if what == "supernova":
            names = [name.strip() for name in detectors.split(",") if name.strip()]
            document = play_burst(
                ctx,
                stages,
                seed=seed,
                distance_kpc=distance_kpc,
                detectors=names or DETECTORS,
                say=note,
            )
        else:
            nights = stream(ctx, stages, seconds=seconds, rate_hz=rate, seed=seed, say=note)
            document = score(ctx, nights)
    if as_json:
        print_json(document)
    else:
        for key, value in document.items():
            print(f"{key:>22}: {json.dumps(value)}")
