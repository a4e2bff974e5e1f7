"""The screening bank: light curves of every class, drawn once from the priors and kept on disk.

One file for each band, (n_times, n_curves) magnitudes, mapped into memory: processes share it.
A band is built when it is first asked for. Everything that can change a number is in the bank's
:func:`version`, which names its folder: after any change the old files are simply not found,
and are built anew.

Columns: contaminants first, then the kilonovae once for each of ``NODES_MPC``, at the node's
distance and redshift, since redshift changes colours.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import logging
import math
import os
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
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
    "N_KILONOVAE",
    "N_OTHERS",
    "SURVEY_BANDS",
    "T_DAY",
    "BandFile",
    "band",
    "build",
    "check",
    "folder",
    "keep_in",
    "moduli",
    "node_of",
    "recipe",
    "stored",
    "version",
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
_N_COLUMNS = N_OTHERS + len(NODES_MPC) * N_KILONOVAE
_OWN_RANGE_MPC = (30.0, 1500.0)
"""Unrelated sources are further away on average, which reddens them."""
_HOST_AV_MAG = 0.2
"""Deviation of a half-normal A_V in front of the kilonovae; supernovae have dust of their own."""
_FORMAT = 3
_SEED = 1

SURVEY_BANDS = tuple(name for name in MODELLED if name.split(":")[0] in ("2mass", "lsst", "ztf"))
"""What the set-up builds in advance."""

_SOURCES = ("bank.py", "dust.py", "fastmath.py", "kernels.py", "passbands.py")
_LIBRARIES = ("astropy", "extinction", "numba", "numpy", "pyphot", "scipy", "sncosmo", "speclite")

_log = logging.getLogger(__name__)
_kept_in: Path | None = None


# -- what it is --------------------------------------------------------------------------


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


@functools.lru_cache(maxsize=1)
def version() -> str:
    """sha256 of the recipe and of the libraries that bring curves, templates and numerics."""
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return hashlib.sha256(f"{recipe()} {json.dumps(libraries)}".encode()).hexdigest()


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


# -- where it is -------------------------------------------------------------------------


def keep_in(path: Path | None) -> None:
    """Keep the bank under ``path`` from now on; None: the user's cache directory."""
    global _kept_in
    _kept_in = path
    band.cache_clear()


def folder() -> Path:
    """The folder of this version."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (_kept_in or cache / "mmcoord" / "bank") / version()[:16]


@functools.lru_cache(maxsize=len(MODELLED))
def band(name: str) -> Array32:
    """(n_times, n_columns) magnitudes in a canonical band, from disk; built if it is not there.

    Where nothing can be written the band is built in memory.
    """
    found = _mapped(name)
    if found is not None:
        return found
    start = time.monotonic()
    made = _curves(name)
    try:
        _store(name, made)
    except OSError as error:
        _log.warning("screening bank: %s is kept in memory alone: %s", name, error)
        return made
    _log.info(
        "screening bank: built %s in %.1f s (version %s, %s)",
        name, time.monotonic() - start, version()[:12], folder(),
    )  # fmt: skip
    found = _mapped(name)
    return made if found is None else found


def build(names: Sequence[str] = MODELLED) -> list[str]:
    """Make what is missing of ``names``, and remove other versions; returns the bands made."""
    made = [name for name in names if _mapped(name) is None]
    for name in names:
        band(name)
    _remove_other_versions()
    return made


@dataclass(frozen=True, slots=True)
class BandFile:
    """A stored band, as :func:`check` found it."""

    band: str
    n_bytes: int
    fault: str | None = None


def stored() -> list[str]:
    """Bands that are on disk in this version."""
    return [name for name in MODELLED if _path(name).is_file()]


def check(names: Sequence[str] | None = None) -> list[BandFile]:
    """Compare files with their checksums and with the models: all curves are drawn again."""
    found = []
    for name in stored() if names is None else names:
        mapped = _mapped(name)
        path = _path(name)
        if mapped is None:
            found.append(BandFile(name, 0, "not there, or not of the right shape"))
            continue
        size = path.stat().st_size
        if _checksum(path) != _sum_path(name).read_text().strip():
            found.append(BandFile(name, size, "differs from its checksum"))
        elif np.abs(mapped - _curves(name)).max() > 1e-3:
            found.append(BandFile(name, size, "differs from what the models give"))
        else:
            found.append(BandFile(name, size))
    return found


def _path(name: str) -> Path:
    return folder() / f"{name.replace(':', '_')}.npy"


def _sum_path(name: str) -> Path:
    return _path(name).with_suffix(".sha256")


def _checksum(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _mapped(name: str) -> Array32 | None:
    path = _path(name)
    if not (path.is_file() and _sum_path(name).is_file()):
        return None
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        _log.warning("screening bank: %s cannot be read and is built anew: %s", path, error)
        return None
    if found.shape != (len(T_DAY), _N_COLUMNS) or found.dtype != np.float32:
        _log.warning("screening bank: %s is not of this version's shape; built anew", path)
        return None
    # A plain array over the mapping: numba compiles once, and rows cost nothing to take.
    return np.asarray(found)


def _store(name: str, curves: Array32) -> None:
    """Whole or not at all, also when two processes build the same band."""
    path = _path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.save(file, curves, allow_pickle=False)
        _sum_path(name).write_text(_checksum(Path(temporary)) + "\n")
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _remove_other_versions() -> None:
    for other in folder().parent.glob("?" * 16):
        if other == folder() or not other.is_dir():
            continue
        for path in other.iterdir():
            if path.suffix in (".npy", ".part", ".sha256"):
                path.unlink(missing_ok=True)
        try:
            other.rmdir()
        except OSError as error:
            _log.warning("screening bank: %s stays: %s", other, error)


# -- how it is made ----------------------------------------------------------------------


def _curves(name: str) -> Array32:
    if name not in MODELLED:
        raise BadPhotometry(f"no transmission curve for {name!r}", where="band")
    out = np.empty((len(T_DAY), _N_COLUMNS), dtype=np.float32)
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
