"""Simulated photometry and the oracle's monochromatic tables, for several tests."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmcoord.inference.models.base import Model
from mmcoord.inference.passbands import LN_T_MAX, LN_T_MIN, N_TEMPERATURES, passbands
from mmcoord.records import Photometry

Array = npt.NDArray[np.float64]

T0 = 60000.0
H_ERG_S, K_ERG_K, C_CM_S = 6.62607015e-27, 1.380649e-16, 2.99792458e10


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as handle:
        return list(csv.DictReader(handle))


def parameters_of(text: str) -> dict[str, float]:
    """``a=1;b=2`` -> {"a": 1.0, "b": 2.0}."""
    return {k: float(v) for k, v in (pair.split("=") for pair in text.split(";"))}


def planck(nu: Array, temperature: Array) -> Array:
    """B_nu in cgs."""
    x = np.minimum(H_ERG_S * nu / (K_ERG_K * temperature), 600.0)
    return np.asarray(2 * H_ERG_S * nu**3 / C_CM_S**2 / np.expm1(x))


def monochromatic_table(wave_angstrom: Array) -> Array:
    """What the pass bands' table would be for infinitely narrow bands."""
    temperature = np.exp(np.linspace(LN_T_MIN, LN_T_MAX, N_TEMPERATURES))
    nu = C_CM_S / (wave_angstrom * 1e-8)
    return planck(nu[:, None], temperature[None, :]) / 3.631e-20


def simulate(
    model: Model,
    theta: list[float],
    t_day: list[float],
    bands: list[str],
    *,
    distance_mpc: float = 100.0,
    redshift: float = 0.023,
    err: float = 0.05,
    limit: float = 30.0,
    seed: int = 1,
) -> tuple[Photometry, ...]:
    """Every band at every time, with noise; limits where fainter than ``limit``."""
    rng = np.random.default_rng(seed)
    names = tuple(sorted(set(bands)))
    t = np.repeat(t_day, len(names)).astype(np.float64)
    index = np.tile(np.arange(len(names)), len(t_day))
    mags = model.magnitudes(
        np.array([theta]), np.array([distance_mpc]), np.array([redshift]), t, index,
        passbands(names, 0.0),
    )[0]  # fmt: skip
    points = []
    for day, k, mag in zip(t, index, mags, strict=True):
        noisy = float(mag + err * rng.standard_normal())
        if mag > limit:
            points.append(Photometry("sim", T0 + day, names[k], limit, None, True))
        else:
            points.append(Photometry("sim", T0 + day, names[k], noisy, err))
    return tuple(points)
