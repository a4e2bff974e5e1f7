"""What it is, from binned counts: a neutron star cools, a black hole ends the signal at once.

Counts n_k of one detector in bins of equal width are Poisson with mean b + A s_k, where b is
the background, s_k a template's shape and A the size, which the distance leaves free. For each
template and each start of the burst A is integrated out in ln A, from the few counts that raise
an alarm to those of the nearest star; then start times and templates of a class are averaged. The
templates are luminosities and mean energies of published shape put through the detector's
response (``response.json``):

* collapse to a neutron star: accretion that ends after 0.1-0.6 s, cooling over 1-5 s (the
  parametrisation of Pagliaroli et al. 2009, Astropart. Phys. 31, 163, simplified);
* failed supernova: accretion with rising energies that ends within milliseconds when the black
  hole forms, after 0.3-2 s (Sumiyoshi et al. 2007; O'Connor & Ott 2011);
* noise: a spike (flasher, muon bundle), a plateau (a noisy run), or any shape at all: free
  rates in intervals, which pay for their freedom (Schwarz 1978, Ann. Stat. 6, 461); a little
  of it is held to look like a collapse in every way.

No template is the truth, and beyond a hundred counts the likelihood speaks of a template's
faults more than of the star. ln likelihoods are therefore scaled to what 100 counts would say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.special import logsumexp, pdtr

from mmcoord.errors import BadInput

__all__ = ["CLASSES", "BinnedCounts", "SeriesResult", "cut_off", "response", "weigh_series"]

Array = npt.NDArray[np.float64]

CLASSES = ("noise", "core_collapse", "failed")
_FINE_S = 0.002
"""Templates are made on this grid and summed into bins."""
_LOG_A = (math.log(3.0), math.log(3e6))
"""Ends of the flat prior of ln A. Fewer counts raise no alarm; more come from nearer than 1 kpc."""
_MIMICS = 0.02
"""Share of noise that looks like a collapse in every way, because no template has it: no series
alone makes noise impossible."""
_STARTS = 24
_MOST_COUNTS = 100.0
_INTERVALS_S = (np.geomspace(0.01, 12.0, 12), np.linspace(0.4, 12.0, 30))
"""Ends of the intervals of free rates: for shapes that fade, and for flashes that repeat."""
_MAX_BINS = 100_000


@dataclass(frozen=True, slots=True)
class BinnedCounts:
    """Counts of one detector.

    Raises
    ------
    BadInput
        Fewer than 8 bins, more than 100,000, negative or non-finite values, or a width or
        background that cannot be.
    """

    detector: str
    counts: npt.NDArray[np.int64]
    """(n,) per bin."""
    bin_s: float
    background: float
    """Expected background counts per bin."""

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts)
        if counts.ndim != 1 or not 8 <= len(counts) <= _MAX_BINS:
            raise BadInput(f"{counts.shape} is no row of 8 to {_MAX_BINS} bins", where="counts")
        if not np.issubdtype(counts.dtype, np.integer) or counts.min() < 0:
            raise BadInput("counts are whole numbers from 0 up", where="counts")
        if not 1e-4 <= self.bin_s <= 10.0:
            raise BadInput(f"{self.bin_s!r} s is not in [1e-4, 10]", where="bin_s")
        if not (math.isfinite(self.background) and self.background >= 0.0):
            raise BadInput(f"{self.background!r} is no background", where="background")


@dataclass(frozen=True, slots=True)
class SeriesResult:
    """What the counts of all detectors say together."""

    probabilities: Mapping[str, float]
    """By class (:data:`CLASSES`), with the prior that was given."""
    log_evidence: Mapping[str, float]
    cut_off_s: float | None
    """When the signal ends after its start, where a black hole is likelier than not."""
    cut_off_p: float | None
    """Probability of so few counts after that time, were it a cooling neutron star."""

    @property
    def determined(self) -> bool:
        """Whether the two collapses are told apart."""
        collapse = self.probabilities["core_collapse"] + self.probabilities["failed"]
        larger = max(self.probabilities["core_collapse"], self.probabilities["failed"])
        return collapse > 0.5 and larger > 0.9 * collapse


@dataclass(frozen=True, slots=True)
class _Shape:
    """A light curve at the source on the fine grid."""

    kind: str
    end_s: float
    """Cut-off of a failed one; 0 for the others."""
    luminosity: Array
    """(flavours, n) in 1e52 erg/s."""
    energy_mev: Array
    """(flavours, n)."""


@lru_cache(maxsize=1)
def response() -> tuple[Array, dict[str, Array]]:
    """Mean energies (MeV), and for each detector (flavours, energies): events per second at
    10 kpc for 1e52 erg/s in each of nu_e, anti-nu_e and one species of the others."""
    document = json.loads(files("mmcoord.supernova").joinpath("response.json").read_text())
    return np.array(document["energies_mev"]), {
        name: np.array([rows[flavour] for flavour in document["flavours"]])
        for name, rows in document["events"].items()
    }


def cooling(accretion_end_s: float, cooling_s: float, t: Array) -> tuple[Array, Array]:
    """Luminosity (3, n) in 1e52 erg/s and mean energy (3, n) of a collapse that leaves a
    neutron star; ``t`` (n,) in s since the start."""
    rise = -np.expm1(-t / 0.02)
    accretion = 4.0 * rise * np.exp(-((t / accretion_end_s) ** 2))
    cool = 1.6 * rise * np.exp(-t / cooling_s)
    fading = np.exp(-t / (3.0 * cooling_s))
    luminosity = np.stack([accretion + cool, accretion + cool, 0.5 * accretion + cool])
    energy = np.stack([10.0 + 0 * t, 13.0 + 0 * t, 14.0 + 0 * t]) * (0.7 + 0.3 * fading)
    return luminosity, energy


def collapsing(end_s: float, t: Array) -> tuple[Array, Array]:
    """As :func:`cooling`, of a collapse to a black hole ``end_s`` after the start."""
    rise = -np.expm1(-t / 0.02)
    after = np.where(t > end_s, np.exp(-(t - end_s) / 0.003), 1.0)
    growth = 1.0 + 0.5 * np.minimum(t / end_s, 1.0)
    luminosity = np.stack([5.0 * rise * growth, 5.0 * rise * growth, 2.5 * rise * growth]) * after
    warm = np.minimum(t / end_s, 1.0)
    energy = np.stack([11.0 + 5.0 * warm, 14.0 + 5.0 * warm, 16.0 + 8.0 * warm])
    return luminosity, energy


@lru_cache(maxsize=4)
def _bank(length_s: float) -> tuple[_Shape, ...]:
    t = np.arange(0.5 * _FINE_S, length_s, _FINE_S)
    found = [
        _Shape("core_collapse", 0.0, *cooling(end, tau, t))
        for end in (0.1, 0.16, 0.25, 0.4, 0.6)
        for tau in (1.0, 1.7, 3.0, 5.0)
    ]
    found += [
        _Shape("failed", end, *collapsing(end, t))
        for end in np.geomspace(0.3, min(2.0, length_s), 40)
    ]
    nothing = np.zeros((3, len(t)))
    for spike in (0.004, 0.02, 0.1):
        shape = np.exp(-t / spike)
        found.append(_Shape("noise", 0.0, np.stack([shape] * 3), nothing))
    for plateau in np.geomspace(0.2, length_s, 40):
        shape = (t < plateau).astype(float)
        found.append(_Shape("noise", 0.0, np.stack([shape] * 3), nothing))
    return tuple(found)


def _template(shape: _Shape, detector: str, bin_s: float) -> Array:
    """Expected counts per bin from the start on, normalised to one."""
    if shape.energy_mev.any():
        energies, tables = response()
        table = tables.get(detector, tables["JUNO"])  # inverse beta decay nearly everywhere
        rate = sum(
            shape.luminosity[f] * np.interp(shape.energy_mev[f], energies, table[f])
            for f in range(3)
        )
    else:
        rate = shape.luminosity[0]  # noise: counts as they come
    fine = np.asarray(rate, dtype=np.float64) * _FINE_S
    if bin_s >= _FINE_S:
        edges = np.floor(np.arange(len(fine)) * _FINE_S / bin_s + 1e-9).astype(np.int64)
        counts = np.bincount(edges, weights=fine).astype(np.float64)
    else:
        counts = np.repeat(fine, round(_FINE_S / bin_s))
    total = float(counts.sum())
    return counts / total if total > 0 else counts


@njit(cache=True, nogil=True)
def _log_ratio(
    counts: npt.NDArray[np.int64], floor: float, template: Array, start: int, n: int, log_a: float
) -> tuple[float, float, float]:
    """ln of the likelihood over that of background alone, its slope and curvature in ln A."""
    a = math.exp(log_a)
    value = gradient = second = 0.0
    for k in range(n):
        signal = a * template[k]
        if signal <= 0.0:
            continue
        value -= signal
        gradient -= signal
        second -= signal
        c = counts[start + k]
        if c > 0:
            mean = floor + signal
            value += c * math.log(mean / floor)
            gradient += c * signal / mean
            second += c * signal * floor / (mean * mean)
    return value, gradient, second


@njit(cache=True, nogil=True)
def _log_evidence(
    counts: npt.NDArray[np.int64],
    background: float,
    template: Array,
    start: int,
    low: float,
    high: float,
) -> float:
    """ln of the likelihood over that of background alone, averaged over ln A from ``low`` to
    ``high``: by the trapezoidal rule about the peak, which may be an end of the range."""
    n = min(len(template), len(counts) - start)
    total = 0.0
    share = 0.0
    for k in range(n):
        total += counts[start + k] - background
        share += template[k]
    if share <= 0.0:
        return -np.inf
    floor = max(background, 1e-6)
    log_a = min(max(math.log(max(total, 1.0)), low), high)
    curvature = 1.0
    for _ in range(60):
        _, gradient, second = _log_ratio(counts, floor, template, start, n, log_a)
        curvature = max(-second, 1e-3)
        step = min(max(gradient / curvature, -2.0), 2.0)
        moved = min(max(log_a + step, low), high)
        if abs(moved - log_a) < 1e-6:
            break
        log_a = moved
    sigma = 1.0 / math.sqrt(curvature)
    begin = max(low, log_a - 6.0 * sigma)
    end = min(high, log_a + 6.0 * sigma)
    peak = _log_ratio(counts, floor, template, start, n, log_a)[0]
    points = 33
    width = (end - begin) / (points - 1)
    total = 0.0
    for i in range(points):
        value, _, _ = _log_ratio(counts, floor, template, start, n, begin + i * width)
        weight = 0.5 if i == 0 or i == points - 1 else 1.0
        total += weight * math.exp(min(value - peak, 50.0))
    return peak + math.log(total * width / (high - low))


def weigh_series(
    series: Sequence[BinnedCounts], prior: Mapping[str, float] | None = None
) -> SeriesResult:
    """Probabilities of the classes from the counts of one or more detectors.

    Each detector's start is its own; a template (its duration, its cut-off) is common.

    Parameters
    ----------
    prior
        By class; default: what is left of an alert that is believed, 10 % noise, and a fifth
        of collapses failed.

    Raises
    ------
    BadInput
        No series.
    """
    if not series:
        raise BadInput("no counts", where="series")
    prior = prior or {"noise": 0.1, "core_collapse": 0.72, "failed": 0.18}
    length_s = max(len(one.counts) * one.bin_s for one in series)
    bank = _bank(min(length_s, 12.0))
    by_shape = np.array([sum(_best(one, shape) for one in series) for shape in bank])
    scale = _scale(series)
    by_shape /= scale
    free = [sum(_any_shape(one, scale, ends_s) for one in series) for ends_s in _INTERVALS_S]
    evidence: dict[str, float] = {}
    for kind in CLASSES:
        rows = np.array([shape.kind == kind for shape in bank])
        found = float(logsumexp(by_shape[rows]) - math.log(rows.sum()))
        if kind == "noise":  # or any shape, or nothing at all beside the background
            found = float(logsumexp([found, *free, 0.0]) - math.log(2.0 + len(free)))
        evidence[kind] = found
    collapse = np.logaddexp(evidence["core_collapse"], evidence["failed"]) - math.log(2.0)
    evidence["noise"] = float(
        np.logaddexp(evidence["noise"] + math.log1p(-_MIMICS), float(collapse) + math.log(_MIMICS))
    )
    logs = np.array([evidence[kind] + math.log(max(prior[kind], 1e-300)) for kind in CLASSES])
    weights = np.exp(logs - logsumexp(logs))
    probabilities = dict(zip(CLASSES, map(float, weights), strict=True))
    cut_s = cut_p = None
    if probabilities["failed"] > probabilities["core_collapse"]:
        rows = np.array([shape.kind == "failed" for shape in bank])
        best = bank[int(np.flatnonzero(rows)[np.argmax(by_shape[rows])])]
        cut_s = best.end_s
        cut_p = cut_off(series, cut_s)
    return SeriesResult(probabilities, evidence, cut_s, cut_p)


def _starts(one: BinnedCounts) -> npt.NDArray[np.int64]:
    """Bins at which a burst may begin: about the first significant rise."""
    counts = one.counts
    width = max(1, round(0.05 / one.bin_s))
    summed = np.convolve(counts, np.ones(width), "valid")
    expected = one.background * width
    level = max(expected + 5.0 * math.sqrt(max(expected, 1.0)), 0.1 * float(summed.max()))
    above = np.flatnonzero(summed > level)
    first = int(above[0]) if len(above) else int(np.argmax(summed))
    span = max(_STARTS, width)
    begin = max(0, first - span // 4)
    end = min(len(counts) - 4, first + width + span // 4)
    step = max(1, (end - begin) // _STARTS)
    return np.arange(begin, max(end, begin + 1), step, dtype=np.int64)


def _best(one: BinnedCounts, shape: _Shape) -> float:
    """ln evidence of one template in one detector, averaged over starts."""
    template = _template(shape, one.detector, one.bin_s)
    counts = np.asarray(one.counts, dtype=np.int64)
    values = np.array(
        [
            _log_evidence(counts, one.background, template, int(start), *_LOG_A)
            for start in _starts(one)
        ]
    )
    return float(logsumexp(values) - math.log(len(values)))


def _scale(series: Sequence[BinnedCounts]) -> float:
    """By how much ln likelihoods are divided; see the module."""
    signal = sum(
        max(float(np.sum(one.counts)) - one.background * len(one.counts), 0.0) for one in series
    )
    return max(1.0, signal / _MOST_COUNTS)


def _any_shape(one: BinnedCounts, scale: float, ends_s: Array) -> float:
    """ln evidence, already scaled, of free rates in intervals from the start on, over that of
    background."""
    counts = np.asarray(one.counts, dtype=np.float64)
    values = []
    for start in _starts(one):
        edges = int(start) + np.concatenate([[0], np.ceil(ends_s / one.bin_s)]).astype(int)
        edges = np.unique(np.minimum(edges, len(counts)))
        if len(edges) < 2:
            continue
        seen = np.add.reduceat(np.append(counts, 0.0), edges)[:-1]
        expected = np.maximum(one.background * np.diff(edges), 1e-6)
        gain = np.where(seen > 0, seen * np.log(np.maximum(seen, 1e-9) / expected), 0.0)
        gain = (gain - seen + expected)[seen > expected].sum() / scale
        values.append(gain - 0.5 * len(seen) * math.log(max(seen.sum() / scale, 2.0)))
    return float(logsumexp(values) - math.log(len(values))) if values else 0.0


def cut_off(series: Sequence[BinnedCounts], after_s: float) -> float:
    """Probability of so few counts from ``after_s`` on if a neutron star cooled slowly.

    The slowest of the cooling curves that fit the counts before is the least favourable to a
    black hole, the fastest the most; the largest of their probabilities is returned.
    """
    worst = 0.0
    for shape in _bank(12.0):
        if shape.kind != "core_collapse":
            continue
        expected = observed = 0.0
        for one in series:
            template = _template(shape, one.detector, one.bin_s)
            start = int(_starts(one)[0])
            cut = round(after_s / one.bin_s)
            span = min(len(template), len(one.counts) - start)
            seen = np.asarray(one.counts[start : start + span], dtype=np.float64)
            before = float(template[:cut].sum())
            signal = max(float(seen[:cut].sum()) - one.background * min(cut, span), 0.0)
            if before > 0.0:
                expected += signal / before * float(template[cut:span].sum())
            expected += one.background * max(span - cut, 0)
            observed += float(seen[cut:].sum())
        if expected > 0.0:
            worst = max(worst, float(pdtr(observed, expected)))
    return worst
