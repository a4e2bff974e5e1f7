"""The tiles of a plan in words: how many of which camera, of how much of the map. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC

from mmcoord.records import PlanTile

__all__ = ["FIRST", "CameraTiles", "by_camera", "tile_line", "tiles_lines", "tiles_sentence"]

FIRST = 5
"""Tiles that a text names one by one."""


@dataclass(frozen=True, slots=True)
class CameraTiles:
    """What a plan asks of one wide camera."""

    instrument: str
    tiles: tuple[PlanTile, ...]
    """In order of time."""

    @property
    def probability(self) -> float:
        """Of the map in its fields, which do not overlap but for their edges."""
        return min(1.0, sum(tile.probability for tile in self.tiles))


def by_camera(tiles: Iterable[PlanTile]) -> tuple[CameraTiles, ...]:
    """The tiles of each camera, the one with most of the map first."""
    found: dict[str, list[PlanTile]] = {}
    for tile in sorted(tiles, key=lambda tile: (tile.start, tile.tile_id)):
        found.setdefault(tile.instrument, []).append(tile)
    cameras = [CameraTiles(name, tuple(own)) for name, own in found.items()]
    return tuple(sorted(cameras, key=lambda camera: (-camera.probability, camera.instrument)))


def tiles_sentence(tiles: Sequence[PlanTile]) -> str:
    """How many, of which cameras, with how much of the map; there is one at least."""
    cameras = by_camera(tiles)
    share = [
        f"{len(one.tiles)} of {one.instrument} with {100.0 * one.probability:.2g} % of the map"
        for one in cameras
    ]
    shows = 100.0 * min(1.0, sum(tile.new_probability for tile in tiles))
    word = "tile" if len(tiles) == 1 else "tiles"
    return (
        f"{len(tiles)} {word} of wide cameras: {', '.join(share)}; {shows:.2g} % that their "
        "images show the counterpart"
    )


def tile_line(tile: PlanTile) -> str:
    """One tile in fixed columns."""
    return (
        f"{tile.start.astimezone(UTC):%m-%d %H:%M} UTC  {tile.instrument} {tile.band} "
        f"{tile.exposure_s:.0f} s  {tile.ra_deg:9.4f} {tile.dec_deg:+8.4f}  "
        f"{100.0 * tile.probability:.2g} % of the map"
    )


def tiles_lines(tiles: Sequence[PlanTile], most: int = FIRST) -> list[str]:
    """The first by time, and how many more there are; empty where there is none."""
    lines = [tile_line(tile) for tile in sorted(tiles, key=lambda t: (t.start, t.tile_id))[:most]]
    if len(tiles) > most:
        lines.append(f"and {len(tiles) - most} more")
    return lines
