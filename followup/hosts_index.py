"""A catalogue of galaxies on disk: columns sorted by place, mapped into memory, checked.

A folder holds one ``.npy`` file per column and ``manifest.json`` with the catalogue's name, where
it came from, and the SHA-256 of the source and of each column. A cone is looked up by ranges of
HEALPix indices (order 29, nested), so that of a catalogue of millions only the pages around the
place are read.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from followup.hosts import Galaxies
from mmcoord.errors import BadInput, ConfigError

__all__ = ["COLUMNS", "GalaxyIndex", "build_index", "file_sha256"]

COLUMNS = ("distance_mpc", "distance_err_mpc", "magnitude", "radius_arcsec", "log_mass")
_FORMAT = 1
_ORDER = 29
_NAME_BYTES = 28
_PIXELS_PER_RADIUS = 3.0
_FILES = ("hpx29", "ra_deg", "dec_deg", "name", *COLUMNS)


@dataclass(frozen=True, slots=True)
class GalaxyIndex:
    """An opened index; a :class:`followup.hosts.GalaxySource`."""

    catalogue: str
    manifest: dict[str, Any]
    columns: dict[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        return len(self.columns["hpx29"])

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> GalaxyIndex:
        """Map the columns of a folder; with ``verify`` their checksums are computed (slow).

        Raises
        ------
        ConfigError
            No index there, one of another format, a column that is short or was changed.
        """
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder}: no index of galaxies: {error}") from error
        if manifest.get("format") != _FORMAT:
            raise ConfigError(f"{folder}: format {manifest.get('format')!r}: build it anew")
        columns = {}
        for name in _FILES:
            path = folder / f"{name}.npy"
            try:
                columns[name] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise ConfigError(f"{path}: {error}") from error
            if len(columns[name]) != manifest["n"]:
                raise ConfigError(f"{path}: {len(columns[name])} rows, not {manifest['n']}")
            if verify and file_sha256(path) != manifest["sha256"][name]:
                raise ConfigError(f"{path}: its checksum is not that of the manifest")
        return cls(str(manifest["catalogue"]), manifest, columns)

    def near(self, ra_deg: float, dec_deg: float, radius_deg: float) -> Galaxies:
        """All galaxies within the radius, by place."""
        rows = np.concatenate(
            [np.arange(lo, hi) for lo, hi in self._spans(ra_deg, dec_deg, radius_deg)]
            or [np.zeros(0, np.int64)]
        )
        ra = np.asarray(self.columns["ra_deg"][rows], np.float64)
        dec = np.asarray(self.columns["dec_deg"][rows], np.float64)
        inside = _separation_deg(ra, dec, ra_deg, dec_deg) <= radius_deg
        kept = rows[inside]
        return Galaxies(
            catalogue=self.catalogue,
            name=tuple(str(n, "utf-8", "replace") for n in self.columns["name"][kept]),
            ra_deg=ra[inside],
            dec_deg=dec[inside],
            **{name: np.asarray(self.columns[name][kept], np.float64) for name in COLUMNS},
        )

    def _spans(self, ra_deg: float, dec_deg: float, radius_deg: float) -> npt.NDArray[np.int64]:
        """(k, 2) spans of rows whose pixels touch the circle."""
        import healpy  # a second of every start, with the plotting that it brings

        width = math.radians(radius_deg) / _PIXELS_PER_RADIUS
        order = max(0, min(20, math.ceil(math.log2(math.sqrt(math.pi / 3.0) / width))))
        centre = healpy.ang2vec(ra_deg, dec_deg, lonlat=True)
        pixels = np.sort(
            healpy.query_disc(
                2**order, centre, math.radians(radius_deg), inclusive=True, fact=4, nest=True
            )
        ).astype(np.int64)
        first = np.flatnonzero(np.diff(pixels, prepend=-2) != 1)
        last = np.append(first[1:], len(pixels)) - 1
        shift = 2 * (_ORDER - order)
        keys = self.columns["hpx29"]
        return np.stack(
            [
                np.searchsorted(keys, pixels[first] << shift),
                np.searchsorted(keys, (pixels[last] + 1) << shift),
            ],
            axis=1,
        ).astype(np.int64)


def build_index(
    chunks: Iterable[Galaxies], folder: Path, *, source: str, source_sha256: str
) -> dict[str, Any]:
    """Write an index of the chunks' galaxies into ``folder``, in place of what is there.

    It is made beside the folder and moved there when it is whole. Returns the manifest.

    Raises
    ------
    BadInput
        No galaxy at all, or a position out of range.
    """
    import healpy

    parts = list(chunks)
    if not sum(len(part) for part in parts):
        raise BadInput("not one galaxy that can be used", where=source)
    ra = np.concatenate([part.ra_deg for part in parts])
    dec = np.concatenate([part.dec_deg for part in parts])
    if not ((ra >= 0) & (ra < 360)).all() or not (np.abs(dec) <= 90).all():
        raise BadInput("a position is out of range", where=source)
    hpx29 = healpy.ang2pix(2**_ORDER, ra, dec, nest=True, lonlat=True).astype(np.int64)
    order = np.argsort(hpx29, kind="stable")
    names = np.array(
        [n.encode()[:_NAME_BYTES] for part in parts for n in part.name], f"S{_NAME_BYTES}"
    )
    columns: dict[str, npt.NDArray[Any]] = {
        "hpx29": hpx29,
        "ra_deg": ra,
        "dec_deg": dec,
        "name": names,
    }
    for name in COLUMNS:
        columns[name] = np.concatenate([getattr(part, name) for part in parts]).astype(np.float32)
    building = folder.with_name(f".{folder.name}.{os.getpid()}")
    building.mkdir(parents=True)
    try:
        digests = {}
        for name in _FILES:
            path = building / f"{name}.npy"
            np.save(path, columns[name][order], allow_pickle=False)
            digests[name] = file_sha256(path)
        manifest = {
            "format": _FORMAT,
            "catalogue": parts[0].catalogue,
            "n": len(order),
            "source": source,
            "source_sha256": source_sha256,
            "sha256": digests,
        }
        (building / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return manifest


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def _separation_deg(
    ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64], ra_0: float, dec_0: float
) -> npt.NDArray[np.float64]:
    h = (
        np.sin(np.radians(dec - dec_0) / 2) ** 2
        + np.cos(np.radians(dec))
        * math.cos(math.radians(dec_0))
        * np.sin(np.radians(ra - ra_0) / 2) ** 2
    )
    return np.asarray(np.degrees(2 * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0)))))
