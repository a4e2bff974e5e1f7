"""The screening bank: light curves of every class, drawn once from the priors and kept on disk.

One file for each band, (n_times, n_curves) magnitudes, mapped into memory: processes share it.
A band is built when it is first asked for. Everything that can change a number is in the bank's
:func:`version`, which names its folder: after any change the old files are simply not found,
and are built anew.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmcoord.bands import MODELLED
from mmcoord.inference.bank_curves import N_COLUMNS, T_DAY, curves, recipe

__all__ = [
    "SURVEY_BANDS",
    "BandFile",
    "band",
    "build",
    "check",
    "folder",
    "keep_in",
    "stored",
    "version",
]

Array32 = npt.NDArray[np.float32]

SURVEY_BANDS = tuple(name for name in MODELLED if name.split(":")[0] in ("2mass", "lsst", "ztf"))
"""What the set-up builds in advance."""

_LIBRARIES = ("astropy", "extinction", "numba", "numpy", "pyphot", "scipy", "sncosmo", "speclite")

_log = logging.getLogger(__name__)
_kept_in: Path | None = None


# -- what it is --------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def version() -> str:
    """sha256 of the recipe and of the libraries that bring curves, templates and numerics."""
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return hashlib.sha256(f"{recipe()} {json.dumps(libraries)}".encode()).hexdigest()


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
    made = curves(name)
    made.setflags(write=False)  # as the mapped file: Numba compiles for one kind
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
        elif np.abs(mapped - curves(name)).max() > 1e-3:
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
    except (EOFError, OSError, ValueError) as error:
        _log.warning("screening bank: %s cannot be read and is built anew: %s", path, error)
        return None
    if found.shape != (len(T_DAY), N_COLUMNS) or found.dtype != np.float32:
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
