"""HEALPix on the sphere: positions to nested indices at order 29 and back.

Gorski et al. 2005, ApJ 622, 759, section 5 and appendix A. The index of a position is
computed with the same roundings as the HEALPix C++ library (which healpy wraps), so that
both agree on points that lie on the boundary of a pixel, where one unit in the last place
decides.

The kernels release the GIL and are run on threads of our own (``skymaps.threads``): Numba's
parallel layers abort the process when two Python threads or a forked child enter them.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from skymaps.skymap import MAX_ORDER, FloatArray, IntArray
from skymaps.threads import run_chunks

__all__ = [
    "as_positions",
    "boundary_xyz",
    "index_block",
    "nest_to_ring",
    "order29_index",
    "order29_of",
    "pixel_center",
    "point_on_tile",
    "to_xyz",
]

_HALF_PI = np.pi / 2
_INV_HALF_PI = 0.6366197723675814
_DEG = np.pi / 180.0
_NSIDE = float(1 << MAX_ORDER)
_TWO52 = 4503599627370496.0
_MANTISSA = (1 << 52) - 1
_BLOCK = 256
_TWO_THIRDS = 2.0 / 3.0
_POLE_CAP = 0.01
_POLE_CAP_SOUTH = 3.14159 - 0.01
_EQUATORIAL, _NORTH, _SOUTH, _UNSURE = 0.0, 1.0, 2.0, 3.0
_SLACK = 3e-5
"""In order-29 pixels: four times the largest effect of one unit in the last place of cos."""


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _sin_kernel(x: float, u: float) -> float:
    """sin(x) for abs(x) < 0.8, u = x**2 (near-minimax in u, error 1e-17)."""
    p = 1.5918093561437795e-10
    p = p * u - 2.5051131348960252e-08
    p = p * u + 2.755731610017207e-06
    p = p * u - 0.00019841269836753985
    p = p * u + 0.008333333333330946
    p = p * u - 0.16666666666666666
    return x + x * u * p


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _cos_kernel(u: float) -> float:
    """cos(x) for abs(x) < 0.8, u = x**2 (near-minimax in u, error 1e-18)."""
    q = -1.1382610070998325e-11
    q = q * u + 2.087614595808494e-09
    q = q * u - 2.755731727024068e-07
    q = q * u + 2.4801587298762816e-05
    q = q * u - 0.0013888888888887395
    q = q * u + 0.041666666666666664
    return 1.0 - (0.5 * u - u * u * q)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _project(theta: float, phi: float) -> tuple[float, float, float, float]:
    """(jp, jm, quarter, region) of the HEALPix projection at order 29, whole numbers as floats.

    Written without branches so that LLVM turns it into vector instructions. Where an error
    of a few units in the last place could change the pixel, region is _UNSURE.
    """
    tt = phi * _INV_HALF_PI
    tt = tt + 4.0 if tt < 0.0 else tt
    tt = tt - 4.0 if tt >= 4.0 else tt
    # cos(theta) from the nearer of equator and pole.
    from_equator = _HALF_PI - theta
    near_equator = abs(from_equator) <= 0.785
    south = theta > _HALF_PI
    from_pole = np.pi - theta if south else theta
    x = from_equator if near_equator else from_pole
    u = x * x
    sine = _sin_kernel(x, u)
    cosine = _cos_kernel(u)
    za = abs(sine) if near_equator else cosine
    z = -za if south else za
    equatorial = za <= _TWO_THIRDS
    t1 = _NSIDE * (0.5 + tt)
    t2 = _NSIDE * (z * 0.75)
    ntt = np.floor(tt)
    ntt = 3.0 if ntt > 3.0 else ntt
    tp = tt - ntt
    close = (theta < _POLE_CAP) | (theta > _POLE_CAP_SOUTH)
    wide = _NSIDE * np.sqrt(3.0 * (1.0 - za))
    narrow = _NSIDE * sine / np.sqrt((1.0 + za) / 3.0)
    tmp = narrow if close else wide
    p = t1 - t2 if equatorial else tp * tmp
    m = t1 + t2 if equatorial else (1.0 - tp) * tmp
    jp = np.floor(p)
    jm = np.floor(m)
    edge = abs(p - jp - 0.5) > 0.5 - _SLACK
    edge |= abs(m - jm - 0.5) > 0.5 - _SLACK
    edge |= abs(za - _TWO_THIRDS) < 1e-14
    region = _EQUATORIAL if equatorial else (_SOUTH if south else _NORTH)
    return jp, jm, ntt, _UNSURE if edge else region


@njit(cache=True, nogil=True, error_model="numpy")
def _project_exactly(theta: float, phi: float) -> tuple[float, float, float, float]:
    """The same with the C library's functions in the order in which HEALPix C++ calls them."""
    tt = phi * _INV_HALF_PI
    tt = tt + 4.0 if tt < 0.0 else tt
    tt = tt - 4.0 if tt >= 4.0 else tt
    z = math.cos(theta)
    za = abs(z)
    if za <= _TWO_THIRDS:
        t1 = _NSIDE * (0.5 + tt)
        t2 = _NSIDE * (z * 0.75)
        return max(np.floor(t1 - t2), 0.0), max(np.floor(t1 + t2), 0.0), 0.0, _EQUATORIAL
    ntt = min(3.0, np.floor(tt))
    tp = tt - ntt
    if theta < _POLE_CAP or theta > _POLE_CAP_SOUTH:
        tmp = _NSIDE * math.sin(theta) / math.sqrt((1.0 + za) / 3.0)
    else:
        tmp = _NSIDE * math.sqrt(3.0 * (1.0 - za))
    jp = max(min(np.floor(tp * tmp), _NSIDE - 1.0), 0.0)
    jm = max(min(np.floor((1.0 - tp) * tmp), _NSIDE - 1.0), 0.0)
    return jp, jm, ntt, _NORTH if z >= 0.0 else _SOUTH


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _spread(v: int) -> int:
    """Put the low 32 bits of v on the even places."""
    v = (v | (v << 16)) & 0x0000FFFF0000FFFF
    v = (v | (v << 8)) & 0x00FF00FF00FF00FF
    v = (v | (v << 4)) & 0x0F0F0F0F0F0F0F0F
    v = (v | (v << 2)) & 0x3333333333333333
    return (v | (v << 1)) & 0x5555555555555555


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _assemble(jp: int, jm: int, quarter: int, region: int) -> int:
    """Nested index at order 29 from the integers of the projection."""
    mask = (1 << MAX_ORDER) - 1
    ifp = jp >> MAX_ORDER
    ifm = jm >> MAX_ORDER
    eq_face = (ifp | 4) if ifp == ifm else (ifp if ifp < ifm else ifm + 8)
    north = region == 1
    polar_x = mask - jm if north else jp
    polar_y = mask - jp if north else jm
    polar_face = quarter if north else quarter + 8
    equatorial = region == 0
    x = (jm & mask) if equatorial else polar_x
    y = mask - (jp & mask) if equatorial else polar_y
    face = eq_face if equatorial else polar_face
    return (face << (2 * MAX_ORDER)) + _spread(x) + (_spread(y) << 1)


@njit(cache=True, nogil=True, error_model="numpy")
def order29_of(ra_deg: float, dec_deg: float) -> int:
    """Order-29 index of one position; -1 where it is none."""
    if not (math.isfinite(ra_deg) and abs(dec_deg) <= 90.0):
        return -1
    if not -360.0 <= ra_deg < 720.0:
        ra_deg = ra_deg % 360.0
    jp, jm, quarter, region = _project_exactly(_HALF_PI - dec_deg * _DEG, ra_deg * _DEG)
    return _assemble(int(jp), int(jm), int(quarter), int(region))


@njit(cache=True, nogil=True, error_model="numpy")
def index_block(ra: FloatArray, dec: FloatArray, work: FloatArray, out: IntArray) -> None:
    """Order-29 indices of at most 256 positions; -1 where there is no position.

    ``work`` is scratch of shape (4, 256).
    """
    n = len(ra)
    for i in range(n):
        a = ra[i]
        d = dec[i]
        # Adding 2**52 leaves a whole number in the low bits of the mantissa.
        jp, jm, quarter, region = _project(_HALF_PI - d * _DEG, a * _DEG)
        good = (a >= -360.0) & (a < 720.0) & (abs(d) <= 90.0)
        work[0, i] = jp + _TWO52
        work[1, i] = jm + _TWO52
        work[2, i] = quarter + _TWO52
        work[3, i] = (region if good else _UNSURE) + _TWO52
    bits = work.view(np.int64)
    unsure = 0
    for i in range(n):
        region = bits[3, i] & 3
        unsure += region >> 1 & region
        out[i] = _assemble(
            bits[0, i] & _MANTISSA, bits[1, i] & _MANTISSA, bits[2, i] & _MANTISSA, region
        )
    if unsure:
        for i in range(n):
            if bits[3, i] & 3 == 3:
                out[i] = order29_of(ra[i], dec[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _index_range(ra: FloatArray, dec: FloatArray, lo: int, hi: int, out: IntArray) -> None:
    work = np.empty((4, _BLOCK))
    at = lo
    while at < hi:
        n = min(_BLOCK, hi - at)
        index_block(ra[at : at + n], dec[at : at + n], work, out[at : at + n])
        at += n


def as_positions(ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Contiguous float64 arrays of one length."""
    ra, dec = np.broadcast_arrays(np.asarray(ra_deg, np.float64), np.asarray(dec_deg, np.float64))
    return np.ascontiguousarray(np.atleast_1d(ra)), np.ascontiguousarray(np.atleast_1d(dec))


def order29_index(
    ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike, *, workers: int | None = None
) -> IntArray:
    """Nested HEALPix index at order 29 of each position (deg, ICRS); -1 where NaN or no position.

    The same integers as ``healpy.ang2pix(2**29, ra, dec, nest=True, lonlat=True)``.
    """
    ra, dec = as_positions(ra_deg, dec_deg)
    out = np.empty(ra.shape, np.int64)
    flat_ra, flat_dec, flat_out = ra.ravel(), dec.ravel(), out.ravel()
    run_chunks(lambda lo, hi: _index_range(flat_ra, flat_dec, lo, hi, flat_out), ra.size, workers)
    return out


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _compress(v: int) -> int:
    """Gather the even bits of v."""
    v = v & 0x5555555555555555
    v = (v | (v >> 1)) & 0x3333333333333333
    v = (v | (v >> 2)) & 0x0F0F0F0F0F0F0F0F
    v = (v | (v >> 4)) & 0x00FF00FF00FF00FF
    v = (v | (v >> 8)) & 0x0000FFFF0000FFFF
    return (v | (v >> 16)) & 0x00000000FFFFFFFF


@njit(cache=True, nogil=True, error_model="numpy")
def point_on_tile(order: int, ipix: int, dx: float, dy: float) -> tuple[float, float]:
    """(ra, dec) in deg of a point inside a tile; dx, dy in [0, 1] along its two sides.

    HEALPix is an equal-area projection: uniform (dx, dy) are uniform in solid angle.
    """
    nside = 1 << order
    face = ipix >> (2 * order)
    within = ipix & ((np.int64(1) << (2 * order)) - 1)
    x = (_compress(within) + dx) / nside
    y = (_compress(within >> 1) + dy) / nside
    row = face // 4
    jr = (2.0 if row == 0 else (3.0 if row == 1 else 4.0)) - x - y
    column = face % 4
    jp = 2 * column + 1 if row != 1 else 2 * column
    if jr < 1.0:
        nr = jr
        one_minus = nr * nr / 3.0
        dec = _HALF_PI - 2.0 * np.arcsin(np.sqrt(0.5 * one_minus))
    elif jr > 3.0:
        nr = 4.0 - jr
        one_minus = nr * nr / 3.0
        dec = 2.0 * np.arcsin(np.sqrt(0.5 * one_minus)) - _HALF_PI
    else:
        nr = 1.0
        dec = np.arcsin((2.0 - jr) * 2.0 / 3.0)
    turn = jp * nr + x - y
    phi = 0.0 if nr < 1e-15 else np.pi / 4.0 * turn / nr
    ra = np.degrees(phi)
    if ra < 0.0:
        ra += 360.0
    if ra >= 360.0:
        ra -= 360.0
    return ra, np.degrees(dec)


@njit(cache=True, nogil=True, error_model="numpy")
def pixel_center(order: npt.NDArray, ipix: IntArray) -> tuple[FloatArray, FloatArray]:
    """Centres (ra, dec) in deg of nested pixels."""
    ra = np.empty(len(ipix))
    dec = np.empty(len(ipix))
    for i in range(len(ipix)):
        ra[i], dec[i] = point_on_tile(order[i], ipix[i], 0.5, 0.5)
    return ra, dec


@njit(cache=True, nogil=True, error_model="numpy")
def boundary_xyz(order: int, ipix: int, step: int) -> FloatArray:
    """Points of a tile's outline as unit vectors, shape (4 * step, 3).

    Counter-clockwise seen from inside the sphere, in four sides of ``step`` points.
    """
    out = np.empty((4 * step, 3))
    for side in range(4):
        for k in range(step):
            t = k / step
            dx = (t, 1.0, 1.0 - t, 0.0)[side]
            dy = (0.0, t, 1.0, 1.0 - t)[side]
            ra, dec = point_on_tile(order, ipix, dx, dy)
            c = np.cos(np.radians(dec))
            out[side * step + k, 0] = c * np.cos(np.radians(ra))
            out[side * step + k, 1] = c * np.sin(np.radians(ra))
            out[side * step + k, 2] = np.sin(np.radians(dec))
    return out


def to_xyz(ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> FloatArray:
    """Unit vectors, shape (..., 3)."""
    ra = np.radians(np.asarray(ra_deg, np.float64))
    dec = np.radians(np.asarray(dec_deg, np.float64))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


@njit(cache=True, nogil=True, error_model="numpy")
def nest_to_ring(order: int, lo: int, hi: int, out: IntArray) -> None:
    """RING index of nested pixels lo..hi of one order into out[:hi - lo]."""
    nside = np.int64(1) << order
    ncap = 2 * nside * (nside - 1)
    npix = 12 * nside * nside
    for p in range(lo, hi):
        face = p >> (2 * order)
        within = p & (nside * nside - 1)
        x = _compress(within)
        y = _compress(within >> 1)
        row = face // 4
        column = face % 4
        jr = (row + 2) * nside - x - y - 1
        if jr < nside:
            nr = jr
            first = 2 * nr * (nr - 1)
            shift = 0
        elif jr > 3 * nside:
            nr = 4 * nside - jr
            first = npix - 2 * (nr + 1) * nr
            shift = 0
        else:
            nr = nside
            first = ncap + (jr - nside) * 4 * nside
            shift = (jr - nside) & 1
        turn = 2 * column + (0 if row == 1 else 1)
        jp = (turn * nr + x - y + 1 + shift) // 2
        if jp > 4 * nr:
            jp -= 4 * nr
        elif jp < 1:
            jp += 4 * nr
        out[p - lo] = first + jp - 1
