"""The live sky answers as a plain match of everything with everything would."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import skymaps
from mmcoord.stages.livesky import LiveSky
from tests.making import gaussian_map

LEVEL = 0.9
MAPS = {
    "a": gaussian_map(150.0, -20.0, 5.0),
    "b": gaussian_map(152.0, -22.0, 8.0),
    "c": gaussian_map(10.0, 60.0, 3.0, None),
}
READY = {name: skymaps.prepare(skymap) for name, skymap in MAPS.items()}
PLACES = st.lists(
    st.tuples(st.floats(135.0, 165.0), st.floats(-35.0, -5.0)), min_size=1, max_size=40
)


def plain(name: str, ra: np.ndarray, dec: np.ndarray) -> list[int]:
    """Rows inside a map, one by one from its definition."""
    levels = skymaps.match(MAPS[name], ra, dec).credible_level_2d
    return [row for row, level in enumerate(levels) if level <= LEVEL]


@settings(max_examples=30, deadline=None)
@given(PLACES, st.integers(1, 40))
def test_both_ways_agree_with_matching_each_pair(
    places: list[tuple[float, float]], cut: int
) -> None:
    ra, dec = np.array(places).T
    names = [f"o{row}" for row in range(len(places))]
    sky = LiveSky(LEVEL)
    sky.put_candidates(names[:cut], ra[:cut], dec[:cut])
    sky.set_maps({name: name for name in MAPS}, READY.__getitem__)
    sky.put_candidates(names, ra, dec)  # the first ones again: known already
    at = sky.maps_at(ra, dec)
    for name in MAPS:
        wanted = plain(name, ra, dec)
        assert at.get(name, np.array([], int)).tolist() == wanted
        assert sky.candidates_in(READY[name]) == sorted(names[row] for row in wanted)


def test_a_moved_candidate_is_found_where_it_is_now() -> None:
    sky = LiveSky(LEVEL)
    sky.put_candidates(["x"], np.array([150.0]), np.array([-20.0]))
    assert sky.candidates_in(READY["a"]) == ["x"]
    sky.put_candidates(["x"], np.array([10.0]), np.array([60.0]))
    assert sky.candidates_in(READY["a"]) == []
    assert sky.candidates_in(READY["c"]) == ["x"]
    assert sky.n_candidates == 1


def test_a_new_map_replaces_the_events_old_one_and_a_retracted_event_has_none() -> None:
    sky = LiveSky(LEVEL)
    here, there = (np.array([150.0]), np.array([-20.0])), (np.array([10.0]), np.array([60.0]))
    sky.set_maps({"event": "a"}, READY.__getitem__)
    assert list(sky.maps_at(*here)) == ["event"]
    sky.set_maps({"event": "c"}, READY.__getitem__)
    assert list(sky.maps_at(*here)) == []
    assert list(sky.maps_at(*there)) == ["event"]
    sky.set_maps({}, READY.__getitem__)
    assert sky.maps_at(*there) == {}
    assert sky.n_maps == 0
