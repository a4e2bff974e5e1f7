"""Tiles in words: as many as there are, with as much of the map, the first by time by name."""

from __future__ import annotations

import random

from followup.tilewords import by_camera, tiles_lines, tiles_sentence
from tests.sinks.sample import tile

EIGHT = [tile(n, probability=0.05) for n in range(8)]
THREE = [tile(n, instrument="decam", probability=0.02) for n in range(3)]


def test_tiles_are_counted_for_each_camera_and_their_shares_of_the_map_added() -> None:
    # 8 x 5 % and 3 x 2 %; each image is the first to show half of what its field holds.
    assert tiles_sentence([*THREE, *EIGHT]) == (
        "11 tiles of wide cameras: 8 of ztf with 40 % of the map, 3 of decam with 6 % of the map; "
        "23 % that their images show the counterpart"
    )
    assert tiles_sentence(THREE[:1]).startswith("1 tile of wide cameras: 1 of decam with 2 % ")


def test_fields_that_overlap_at_their_edges_hold_no_more_than_the_map() -> None:
    (camera,) = by_camera([tile(n, probability=0.26) for n in range(4)])
    assert camera.probability == 1.0


def test_the_first_by_time_are_named_whatever_order_they_come_in() -> None:
    mixed = [*EIGHT]
    random.Random(1).shuffle(mixed)
    lines = tiles_lines(mixed, 3)
    assert [line[:11] for line in lines[:3]] == ["11-23 04:00", "11-23 04:05", "11-23 04:10"]
    assert lines[3] == "and 5 more"
    assert "ztf ztf:r 120 s" in lines[0]
    assert "190.0000 -23.5000" in lines[0]
    assert [camera.tiles[0] for camera in by_camera(mixed)] == [EIGHT[0]]


def test_all_are_named_where_they_are_few() -> None:
    assert len(tiles_lines(THREE, 3)) == 3
    assert tiles_lines([]) == []
