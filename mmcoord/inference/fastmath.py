"""Exponential and logarithm that LLVM can vectorise inside Numba loops.

The mathematical library's own are called once per number. These are straight-line polynomials on
the bits of a double, so that a loop over them runs in SIMD registers. They hold for the
arguments that light curves need, not for every double: see each function.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["fast_exp", "fast_log"]

_LOG2_E = 1.4426950408889634
_LN2_HIGH = 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10
_LN2 = 0.6931471805599453
_ROOT_HALF_BITS = 0x3FE6A09E667F3BCD
"""The bits of sqrt(1/2)."""


@intrinsic
def _double_of_bits(typingctx: Any, bits: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


@intrinsic
def _bits_of_double(typingctx: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@numba.njit(cache=True, inline="always")
def fast_exp(x: float) -> float:
    """e^x within 1e-13 relative for |x| <= 690; beyond, the value at the nearer end.

    Cody and Waite's reduction to |r| <= ln 2 / 2, then the Taylor series to r^12.
    """
    x = min(max(x, -690.0), 690.0)
    n = int(x * _LOG2_E + 1024.5) - 1024
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = 2.08767569878681e-09
    p = 2.505210838544172e-08 + r * p
    p = 2.755731922398589e-07 + r * p
    p = 2.7557319223985893e-06 + r * p
    p = 2.48015873015873e-05 + r * p
    p = 0.0001984126984126984 + r * p
    p = 0.001388888888888889 + r * p
    p = 0.008333333333333333 + r * p
    p = 0.041666666666666664 + r * p
    p = 0.16666666666666666 + r * p
    p = 0.5 + r * p
    p = 1.0 + r * p
    p = 1.0 + r * p
    return p * _double_of_bits((n + 1023) << 52)


@numba.njit(cache=True, inline="always")
def fast_log(x: float) -> float:
    """ln x within 1e-13 (absolute, or relative to ln x where that is larger), x > 1e-300.

    x = 2^e m with m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh((m - 1)/(m + 1)) by its series.
    """
    bits = _bits_of_double(x)
    exponent = (bits - _ROOT_HALF_BITS) >> 52
    mantissa = _double_of_bits(bits - (exponent << 52))
    s = (mantissa - 1.0) / (mantissa + 1.0)
    z = s * s
    p = 1.0 / 15.0
    p = 1.0 / 13.0 + z * p
    p = 1.0 / 11.0 + z * p
    p = 1.0 / 9.0 + z * p
    p = 1.0 / 7.0 + z * p
    p = 1.0 / 5.0 + z * p
    p = 1.0 / 3.0 + z * p
    return exponent * _LN2 + 2.0 * s * (1.0 + z * p)
