"""The curves of the screening bank: light of every class, drawn once from the priors.

Columns: contaminants first, then the kilonovae once for each of ``NODES_MPC``, at the node's
distance and redshift, since redshift changes colours.
"""

from __future__ import annotations

import functools
import hashlib
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmcoord.bands import MODELLED
from mmcoord.errors import BadPhotometry
from mmcoord.inference.classes import CLASSES
from mmcoord.inference.dust import R_V, host_extinction
from mmcoord.inference.likelihood import hubble_redshift
from mmcoord.inference.models import registry
from mmcoord.inference.models.base import FAINTEST_MAG, Model
from mmcoord.inference.passbands import passbands

__all__ = [
    "EDGES",
    "NODES_MPC",
    "N_COLUMNS",
    "N_KILONOVAE",
    "N_OTHERS",
    "T_DAY",
    "curves",
    "moduli",
    "node_of",
    "recipe",
]

Array32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

T_DAY = np.geomspace(0.05, 14.0, 44)
"""Days after the event for which the bank has magnitudes."""
NODES_MPC = (40.0, 120.0, 300.0, 700.0)
"""Distances at which the kilonovae are drawn; another distance shifts the nearest's brightness."""
_CURVES: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = (
    ("kilonova", (("villar17_3", 2048), ("villar17_2", 1024), ("villar17_1", 1024))),
    *((name, ((name, 2048),)) for name in CLASSES[1:]),
)
N_KILONOVAE = sum(n for _, n in _CURVES[0][1])
EDGES = np.concatenate([[0], np.cumsum([sum(n for _, n in models) for _, models in _CURVES[1:]])])
"""Where each contaminant's columns begin and end."""
N_OTHERS = int(EDGES[-1])
N_COLUMNS = N_OTHERS + len(NODES_MPC) * N_KILONOVAE
_OWN_RANGE_MPC = (30.0, 1500.0)
"""Unrelated sources are further away on average, which reddens them."""
_HOST_AV_MAG = 0.2
"""Deviation of a half-normal A_V in front of the kilonovae; supernovae have dust of their own."""
_FORMAT = 3
_SEED = 1

_SOURCES = ("bank_curves.py", "dust.py", "fastmath.py", "kernels.py", "passbands.py")


@functools.lru_cache(maxsize=1)
def recipe() -> str:
    """sha256 of the sources, priors and settings that the curves follow from."""
    here = Path(__file__).parent
    redshifts = hubble_redshift(np.array(NODES_MPC)).round(9).tolist()
    digest = hashlib.sha256(f"{_FORMAT} {_SEED} {CLASSES} {redshifts}".encode())
    for path in [*(here / name for name in _SOURCES), *sorted((here / "models").glob("*.py"))]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def node_of(distance_mpc: float) -> int:
    """The node whose kilonovae serve a distance."""
    return min(range(len(NODES_MPC)), key=lambda k: abs(math.log(NODES_MPC[k] / distance_mpc)))


@functools.lru_cache(maxsize=1)
def moduli() -> Array:
    """(N_OTHERS,) distance modulus at which each contaminant is drawn; NaN: it speaks of
    apparent magnitudes."""
    parts = []
    for _, models in _CURVES[1:]:
        for name, n in models:
            distance = _draw(name, n)[2]
            own = registry.load(name).distance == "own"
            parts.append(5.0 * np.log10(distance * 1e5) if own else np.full(n, np.nan))
    return np.concatenate(parts)


def curves(name: str) -> Array32:
    """(n_times, n_columns) magnitudes in a canonical band."""
    if name not in MODELLED:
        raise BadPhotometry(f"no transmission curve for {name!r}", where="band")
    out = np.empty((len(T_DAY), N_COLUMNS), dtype=np.float32)
    column = 0
    for _, models in _CURVES[1:]:
        for model_name, n in models:
            model, theta, distance_mpc = _draw(model_name, n)
            mags = _magnitudes(model, theta, distance_mpc, name)
            out[:, column : column + n] = mags.T
            column += n
    for node_mpc in NODES_MPC:
        for model_name, n in _CURVES[0][1]:
            model, theta, _ = _draw(model_name, n)
            distance_mpc = np.full(n, node_mpc)
            mags = _magnitudes(model, theta, distance_mpc, name)
            mags = np.minimum(mags + _dust(model_name, distance_mpc, name), FAINTEST_MAG)
            out[:, column : column + n] = mags.T
            column += n
    return out


def _draw(name: str, n: int) -> tuple[Model, Array, Array]:
    """Parameters and distances, the same for every band."""
    model = registry.load(name)
    rng = np.random.default_rng([zlib.crc32(name.encode()), _SEED])
    theta = model.theta(rng.random((n, len(model.parameters))))
    low, high = np.log(_OWN_RANGE_MPC)
    return model, theta, np.exp(rng.uniform(low, high, n))


def _magnitudes(model: Model, theta: Array, distance_mpc: Array, name: str) -> Array:
    index = np.zeros(len(T_DAY), dtype=np.int64)
    redshift = hubble_redshift(distance_mpc)
    return model.magnitudes(theta, distance_mpc, redshift, T_DAY, index, passbands((name,), 0.0))


def _dust(name: str, distance_mpc: Array, band_name: str) -> Array:
    """(n, 1) extinction in the host of kilonovae."""
    n = len(distance_mpc)
    rng = np.random.default_rng([zlib.crc32(name.encode()), _SEED, 1])
    av = np.abs(_HOST_AV_MAG * rng.standard_normal(n))
    bands = passbands((band_name,), 0.0)
    return host_extinction(bands, av, np.full(n, R_V), hubble_redshift(distance_mpc))
