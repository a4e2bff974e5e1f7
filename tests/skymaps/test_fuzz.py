"""The loader on broken input: our own error or a sound map, in bounded time and memory.

``benchmarks/skymaps_fuzz.py`` does the same a hundred thousand times on the real maps.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skymaps
from tests.skymaps.maps import random_map, real_blobs, real_names
from tests.skymaps.mutate import mutate


def check_sound(skymap: skymaps.SkyMap) -> None:
    """The invariants of a map, whatever it was made from."""
    assert np.all(skymap.start[1:] >= skymap.end[:-1])
    assert skymap.start[0] >= 0
    assert skymap.end[-1] <= 12 * 4**29
    assert np.all(np.isfinite(skymap.density_sr))
    assert np.all(skymap.density_sr >= 0)
    assert abs(skymap.probability.sum() - 1.0) < 2e-6
    if skymap.distances is not None:
        finite = skymap.has_distance
        for column in skymap.distances:
            assert np.array_equal(np.isfinite(column), finite)
        assert np.all(skymap.distsigma_mpc[finite] > 0)


@given(st.binary(max_size=4000))
@settings(max_examples=200, deadline=None)
def test_any_bytes(data: bytes) -> None:
    for prefix in (b"", b"SIMPLE  =                    T", b"\x1f\x8b\x08\x00"):
        with pytest.raises(skymaps.SkyMapError):
            skymaps.load(prefix + data)


@given(seed=st.integers(0, 2**32 - 1), is_3d=st.booleans())
@settings(max_examples=100, deadline=None)
def test_mutated_maps(seed: int, is_3d: bool) -> None:
    rng = np.random.default_rng(seed)
    data = mutate(skymaps.to_fits_bytes(random_map(seed % 5, is_3d=is_3d)), rng)
    try:
        skymap = skymaps.load(data, max_bytes=10_000_000)
    except skymaps.SkyMapError:
        return
    check_sound(skymap)
    ra, dec, distance = skymaps.draw_positions(skymap, rng, 5)
    answer = skymaps.match(skymap, ra, dec, distance, 3.0)
    assert np.all((answer.credible_level_2d >= 0) & (answer.credible_level_2d <= 1))


def test_mutated_real_maps() -> None:
    rng = np.random.default_rng(0)
    for name in real_names():
        for _ in range(10):
            try:
                check_sound(skymaps.load(mutate(real_blobs()[name], rng), max_bytes=100_000_000))
            except skymaps.SkyMapError:
                continue
