"""Many candidates, many maps: the same answers as one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skymaps
from skymaps.runs import sorting_rows
from tests.skymaps.maps import random_map, random_positions


def one_by_one(
    skymap: skymaps.SkyMap, ra: np.ndarray, dec: np.ndarray, level: float
) -> dict[int, tuple[float, float]]:
    answer = skymaps.match(skymap, ra, dec)
    rows = np.flatnonzero(answer.credible_level_2d <= level)
    return {
        int(i): (float(answer.prob_density_sr[i]), float(answer.credible_level_2d[i])) for i in rows
    }


def as_dict(found: skymaps.IndexMatches) -> dict[int, tuple[float, float]]:
    pairs = zip(found.prob_density_sr.tolist(), found.credible_level_2d.tolist(), strict=True)
    return dict(zip(found.candidate_id.tolist(), pairs, strict=True))


@given(seed=st.integers(0, 2**32 - 1), level=st.floats(0, 1), parts=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_index_answers_as_match_does(seed: int, level: float, parts: int) -> None:
    rng = np.random.default_rng(seed)
    ra, dec = random_positions(rng, 3000)
    mjd = rng.uniform(0, 10, 3000)
    index = skymaps.CandidateIndex()
    for rows in np.array_split(rng.permutation(3000), parts):
        index.add(rows, ra[rows], dec[rows], mjd[rows])
        if rng.uniform() < 0.5:
            index.merge()
    skymap = random_map(seed)
    expected = one_by_one(skymap, ra, dec, level)
    assert as_dict(index.match(skymap, level=level)) == expected
    inside = {i: v for i, v in expected.items() if 2.0 <= mjd[i] <= 5.0}
    assert as_dict(index.match(skymap, level=level, window_mjd=(2.0, 5.0))) == inside
    gone = np.arange(0, 3000, 3)
    index.remove(gone)
    assert len(index) == 2000
    left = {i: v for i, v in expected.items() if i % 3}
    assert as_dict(index.match(skymap, level=level)) == left


def test_many_maps_are_the_maps_one_at_a_time() -> None:
    rng = np.random.default_rng(0)
    ra, dec = random_positions(rng, 20_000)
    mjd = rng.uniform(0, 10, 20_000)
    index = skymaps.CandidateIndex()
    index.add(np.arange(20_000), ra, dec, mjd)
    maps = [skymaps.prepare(random_map(seed)) for seed in range(12)]
    windows = [None if k % 2 else (k / 2, k / 2 + 3) for k in range(12)]
    for workers in (1, 2):
        bulk = index.match_many(maps, level=0.8, windows_mjd=windows, workers=workers)
        for k, prepared in enumerate(maps):
            single = index.match(prepared, level=0.8, window_mjd=windows[k])
            assert as_dict(bulk.of_map(k)) == as_dict(single)
        assert len(bulk) == bulk.offset[-1]


def test_sorting_is_exact_for_crowded_fields() -> None:
    rng = np.random.default_rng(0)
    ra = np.concatenate([10 + 1e-6 * rng.uniform(size=500), rng.uniform(0, 360, 500), [5.0] * 50])
    dec = np.concatenate([1e-6 * rng.uniform(size=500), rng.uniform(-90, 90, 500), [5.0] * 50])
    key = skymaps.order29_index(ra, dec)
    rows = sorting_rows(key)
    assert np.array_equal(rows, np.argsort(key, kind="stable"))


def test_index_refuses_what_has_no_position() -> None:
    index = skymaps.CandidateIndex()
    with pytest.raises(skymaps.SkyMapError, match="candidate 8"):
        index.add([7, 8], [1.0, np.nan], [0.0, 0.0], [0.0, 0.0])
    with pytest.raises(skymaps.SkyMapError, match="ids"):
        index.add([7], [1.0, 2.0], [0.0, 0.0], [0.0, 0.0])
    assert len(index) == 0
    assert len(index.match(random_map(0)).candidate_id) == 0


def test_an_index_without_times_answers_all_but_windows() -> None:
    rng = np.random.default_rng(2)
    ra, dec = random_positions(rng, 500)
    index = skymaps.CandidateIndex()
    for rows in np.array_split(np.arange(500), 60):  # many short lists, which become few
        index.add(rows + 2**31 - 250, ra[rows], dec[rows])  # ids on both sides of four bytes
    skymap = random_map(2)
    expected = {i + 2**31 - 250: v for i, v in one_by_one(skymap, ra, dec, 0.9).items()}
    assert as_dict(index.match(skymap)) == expected
    assert as_dict(index.match_many([skymaps.prepare(skymap)]).of_map(0)) == expected
    with pytest.raises(skymaps.SkyMapError, match="without times"):
        index.match(skymap, window_mjd=(0.0, 1.0))
    with pytest.raises(skymaps.SkyMapError, match="for some candidates and not"):
        index.add([1], [1.0], [2.0], [3.0])
    assert len(index) == 500


def by_key(found: skymaps.ActiveMatches, key: object) -> dict[int, tuple[float, float]]:
    return {
        int(c): (float(p), float(level))
        for c, k, p, level in zip(
            found.candidate, found.key, found.prob_density_sr, found.credible_level_2d, strict=True
        )
        if k == key
    }


@given(seed=st.integers(0, 2**32 - 1), level=st.floats(0.01, 1), count=st.integers(1, 80))
@settings(max_examples=15, deadline=None)
def test_active_maps_answer_as_match_does(seed: int, level: float, count: int) -> None:
    rng = np.random.default_rng(seed)
    ra, dec = random_positions(rng, 400)
    maps = {f"S{k}": random_map(seed % 1000 + k, splits=20) for k in range(5)}
    active = skymaps.ActiveMaps(level)
    present: dict[str, skymaps.SkyMap] = {}
    for _ in range(count):  # a random history of additions, replacements and retractions
        name = str(rng.choice(list(maps)))
        if rng.uniform() < 0.4:
            assert active.discard(name) == (present.pop(name, None) is not None)
        else:
            present[name] = maps[str(rng.choice(list(maps)))]
            active.add(name, present[name])
    assert len(active) == len(present)
    found = active.match(ra, dec)
    for name in maps:
        expected = one_by_one(present[name], ra, dec, level) if name in present else {}
        assert by_key(found, name) == expected


def test_windows_are_relative_to_each_events_time() -> None:
    active = skymaps.ActiveMaps(1.0)
    active.add("a", random_map(0), time=100.0, window=(-1.0, 5.0))
    active.add("b", random_map(1), time=103.0, window=(-1.0, 5.0))
    found = active.match([10.0] * 4, [20.0] * 4, [98.0, 99.5, 104.0, 107.0])
    got = sorted(zip(found.candidate.tolist(), found.key, found.time_offset.tolist(), strict=True))
    assert got == [(1, "a", -0.5), (2, "a", 4.0), (2, "b", 1.0), (3, "b", 4.0)]
    assert len(active.match([10.0], [20.0]).candidate) == 2
    assert len(active.match([np.nan], [20.0], [104.0]).candidate) == 0


def test_more_than_64_maps_and_growing_room() -> None:
    ra, dec = random_positions(np.random.default_rng(0), 300)
    active = skymaps.ActiveMaps(0.95)
    prepared = [skymaps.prepare(random_map(seed, splits=20)) for seed in range(10)]
    for k in range(150):
        active.add(k, prepared[k % 10])
    for k in range(0, 150, 2):
        active.discard(k)
    found = active.match(ra, dec)
    for k in (0, 1, 63, 64, 65, 149):
        expected = one_by_one(prepared[k % 10].skymap, ra, dec, 0.95) if k % 2 else {}
        assert by_key(found, k) == expected


@given(seed=st.integers(0, 2**32 - 1), level=st.floats(0.01, 1), is_3d=st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_part_within_a_level_answers_there_as_the_whole_does(
    seed: int, level: float, is_3d: bool
) -> None:
    rng = np.random.default_rng(seed)
    ra, dec = random_positions(rng, 400)
    distance = rng.uniform(1.0, 400.0, 400)
    whole = skymaps.prepare(random_map(seed, is_3d=is_3d))
    part = skymaps.within(whole, level)
    expected = skymaps.match(whole, ra, dec, distance, 0.1 * distance)
    found = skymaps.match(part, ra, dec, distance, 0.1 * distance)
    inside = expected.credible_level_2d <= level
    assert np.array_equal(found.credible_level_2d <= level, inside)
    for name, column in vars(expected).items():
        assert np.array_equal(getattr(found, name)[inside], column[inside], equal_nan=True), name
    one, all_of_it = skymaps.ActiveMaps(level), skymaps.ActiveMaps(level)
    one.add("map", part)
    all_of_it.add("map", whole)
    assert by_key(one.match(ra, dec), "map") == by_key(all_of_it.match(ra, dec), "map")


def test_a_part_takes_the_memory_of_its_tiles() -> None:
    whole = skymaps.prepare(random_map(1, is_3d=True, splits=2000))
    table = whole.volume
    assert table is not None
    levels = sum(a.nbytes for a in vars(table).values() if isinstance(a, np.ndarray))
    part = skymaps.within(whole, 0.9)
    share = np.mean(whole.answers[:, 1] <= 0.9)
    assert share < 0.5
    assert part.n_bytes - levels < 1.5 * (share + 0.1) * (whole.n_bytes - levels)
    assert part.volume is table
