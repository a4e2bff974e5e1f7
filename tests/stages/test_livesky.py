"""The live sky answers as a plain match of everything with everything would."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skymaps
from mmcoord.stages import localize
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


def test_objects_that_move_again_and_again_are_each_in_one_place() -> None:
    rng = np.random.default_rng(3)
    sky = LiveSky(LEVEL)
    at: dict[str, tuple[float, float]] = {}
    for _ in range(60):
        batch = [f"o{n}" for n in rng.integers(0, 50, 20)]  # an object may come twice in one
        ra, dec = rng.uniform(145.0, 157.0, 20), rng.uniform(-27.0, -15.0, 20)
        sky.put_candidates(batch, ra, dec)
        at |= dict(zip(batch, zip(ra.tolist(), dec.tolist(), strict=True), strict=True))
    assert sky.n_candidates == len(at)
    names, places = list(at), np.array(list(at.values())).T
    for name in ("a", "b"):
        wanted = sorted(names[row] for row in plain(name, *places))
        assert sky.candidates_in(READY[name]) == wanted


def test_what_has_no_position_is_refused_by_name_and_nothing_is_added() -> None:
    sky = LiveSky(LEVEL)
    with pytest.raises(skymaps.SkyMapError, match="lost: not a position"):
        sky.put_candidates(["x", "lost"], np.array([150.0, np.nan]), np.array([-20.0, 0.0]))
    assert sky.n_candidates == 0
    sky.put_candidates(["x"], np.array([150.0]), np.array([-20.0]))
    assert sky.candidates_in(READY["a"]) == ["x"]


def test_a_candidate_costs_less_than_65_bytes() -> None:
    rng = np.random.default_rng(1)

    def put(sky: LiveSky, n: int) -> None:
        for start in range(0, n, 100):
            names = [f"MS261124aab-{n:05d}" for n in range(start, start + 100)]
            sky.put_candidates(names, rng.uniform(0, 360, 100), rng.uniform(-60, 60, 100))

    put(LiveSky(LEVEL), 3000)  # the compiler's memory is another matter
    sky = LiveSky(LEVEL)
    tracemalloc.start()
    put(sky, 50_000)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / 50_000 < 65


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


def test_a_map_that_no_event_has_any_more_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[str] = []
    monkeypatch.setattr(localize, "forget", lambda map_id, _level: gone.append(map_id))
    sky = LiveSky(LEVEL)
    sky.set_maps({"one": "a", "two": "a", "three": "b"}, READY.__getitem__)
    sky.set_maps({"one": "c", "two": "a", "three": "b"}, READY.__getitem__)
    assert gone == []  # the second event still has it
    sky.set_maps({"one": "c", "two": "b"}, READY.__getitem__)
    assert gone == ["a"]
