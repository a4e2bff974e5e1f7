"""Curves that keep only the knots they need, against the function itself."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline

from skymaps.hermite import monotone_slopes, thinned


def curve(x: np.ndarray, y: np.ndarray, kink: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The pieces between kinks, each as SciPy's cubic."""
    slope = monotone_slopes(x, y, kink)
    out = np.empty_like(at)
    cell = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    for k in np.unique(cell):
        piece = CubicHermiteSpline(x[k : k + 2], y[k : k + 2], slope[:, k])
        out[cell == k] = piece(at[cell == k])
    return out


@given(seed=st.integers(0, 2**32 - 1), roots=st.integers(1, 200))
@settings(max_examples=10, deadline=None)
def test_a_thinned_curve_is_the_function(seed: int, roots: int) -> None:
    rng = np.random.default_rng(seed)
    begin = np.sort(rng.uniform(0.1, 0.9, roots))

    def rising(x: np.ndarray) -> np.ndarray:
        """A smooth rise, and square roots that begin one after the other."""
        return (
            1.0
            - np.exp(-x)
            + sum((np.sqrt(np.maximum(x - b, 0.0)) for b in begin), 0.0 * x) / roots
        )

    crowded = (begin[:, None] + np.append(0.0, 1e-7 * 1.5 ** np.arange(40))).ravel()
    x = np.unique(np.concatenate([np.linspace(0.0, 1.0, 1024), crowded[crowded < 1.0]]))
    kink = np.searchsorted(x, begin)
    fixed = np.searchsorted(x, np.linspace(0.0, 1.0, 1024))
    kept = thinned(x, rising(x), kink, fixed, 1e-6)
    assert np.isin(np.concatenate([kink, fixed, [0, len(x) - 1]]), kept).all()
    if roots > 50:  # of one alone all are needed
        assert len(kept) < 1024 + 20 * roots
    at = np.sort(rng.uniform(0.0, 1.0, 400))
    whole = curve(x, rising(x), kink, at)
    thin = curve(x[kept], rising(x[kept]), np.searchsorted(kept, kink), at)
    assert np.abs(thin - whole).max() < 2e-5
    assert np.all(np.diff(thin) >= -1e-12)


def test_a_straight_line_needs_its_ends_and_what_is_asked_for() -> None:
    x = np.linspace(0.0, 1.0, 1025)
    kept = thinned(x, 2.0 * x, np.array([], np.intp), np.array([300]), 1e-9)
    assert {0, 300, 1024} <= set(kept.tolist())
    assert len(kept) < 10
