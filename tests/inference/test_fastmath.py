"""The vectorised exponential and logarithm against the mathematical library's."""

from __future__ import annotations

import math

import numba
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmcoord.inference.fastmath import fast_exp, fast_log

exp_of = numba.njit("f8(f8)")(lambda x: fast_exp(x))
log_of = numba.njit("f8(f8)")(lambda x: fast_log(x))


@given(st.floats(-690.0, 690.0))
def test_exponential(x: float) -> None:
    assert abs(exp_of(x) / math.exp(x) - 1.0) < 1e-13


@given(st.floats(-690.0, 690.0).map(math.exp))
def test_logarithm(x: float) -> None:
    assert abs(log_of(x) - math.log(x)) <= 1e-13 * max(1.0, abs(math.log(x)))


@given(st.floats(0.5, 2.0))
def test_logarithm_near_one_keeps_its_relative_accuracy(x: float) -> None:
    if x != 1.0:
        assert abs(log_of(x) / math.log(x) - 1.0) < 1e-12


def test_beyond_their_range_they_stay_finite() -> None:
    assert exp_of(-1e5) == exp_of(-690.0)
    assert exp_of(1e5) == exp_of(690.0)
    assert np.isfinite(log_of(1e-300))
