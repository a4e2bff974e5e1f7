"""Catalogues of galaxies: fetched or taken from a file, indexed, and found again.

The index of a catalogue is in ``data_dir``/galaxies/NAME. Neither catalogue is published with a
checksum that could be pinned here: the SHA-256 of what came is kept in the manifest, and one given
by the caller must agree. The files are large (GLADE+ 6 GB, NED-LVS about 1 GB), are written as
they come and deleted when the index stands.
"""

from __future__ import annotations

import functools
import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from followup.hosts import Galaxies, GalaxySource, joined
from followup.hosts_catalogues import glade_plus, ned_lvs
from followup.hosts_hats import hats_region
from followup.hosts_index import COLUMNS, GalaxyIndex, build_index, file_sha256
from mmcoord.config import Settings
from mmcoord.errors import ConfigError
from mmcoord.fetching import Network, Policy, fetch
from skymaps import SkyMap

__all__ = [
    "CATALOGUES",
    "GalaxyCatalogue",
    "folder_of",
    "install",
    "install_hats",
    "installed",
    "names",
]


@dataclass(frozen=True, slots=True)
class GalaxyCatalogue:
    """Where a catalogue is published and how it is read."""

    url: str
    host: str
    citation: str
    read: Callable[[Path, float], Iterator[Galaxies]]


def _read_glade(path: Path, max_mpc: float) -> Iterator[Galaxies]:
    with path.open(encoding="ascii", errors="replace") as lines:
        yield from glade_plus(lines, max_mpc=max_mpc)


def _read_ned(path: Path, max_mpc: float) -> Iterator[Galaxies]:
    yield from ned_lvs(path, max_mpc=max_mpc)


CATALOGUES = {
    "glade": GalaxyCatalogue(
        url="https://elysium.elte.hu/~dalyag/GLADE+.txt",
        host="elysium.elte.hu",
        citation="GLADE+: Dalya et al. 2022, MNRAS 514, 1403",
        read=_read_glade,
    ),
    "nedlvs": GalaxyCatalogue(
        url="https://ned.ipac.caltech.edu/NED::LVS/fits/Current/",
        host="ned.ipac.caltech.edu",
        citation="NED-LVS: Cook et al. 2023, ApJS 268, 14",
        read=_read_ned,
    ),
}
_HATS = "hats-"
"""With which the folder of an index of a HATS catalogue begins."""
_MAX_BYTES = 12 * 2**30
_TIMEOUT_S = 6 * 3600.0


def folder_of(settings: Settings, name: str) -> Path:
    """Where the index of a catalogue is, or will be."""
    return _home(settings) / name


def _home(settings: Settings) -> Path:
    return Path(settings.data_dir) / "galaxies"


def install(
    settings: Settings,
    name: str,
    *,
    file: Path | None = None,
    sha256: str | None = None,
    max_mpc: float = 1000.0,
    network: Network | None = None,
) -> dict[str, Any]:
    """Index a catalogue, fetched from its publisher or from a ``file`` at hand; the manifest.

    Raises
    ------
    ConfigError
        An unknown catalogue, a file that is not there, or one that is not what ``sha256`` says.
    BadInput
        The file is not what the catalogue's description says.
    Refused, Retryable
        It cannot be fetched.
    """
    if name not in CATALOGUES:
        raise ConfigError(f"{name!r} is none of {', '.join(CATALOGUES)}")
    catalogue, folder = CATALOGUES[name], folder_of(settings, name)
    if file is not None:
        if not file.is_file():
            raise ConfigError(f"{file}: no such file")
        return _index(catalogue, file, str(file), folder, sha256, max_mpc)
    folder.parent.mkdir(parents=True, exist_ok=True)
    policy = Policy(hosts=frozenset({catalogue.host}), timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES,
                    max_expanded_bytes=_MAX_BYTES)  # fmt: skip
    with tempfile.NamedTemporaryFile(dir=folder.parent, suffix=".part") as part:
        if network is None:
            fetch(catalogue.url, policy, into=part.file)
        else:
            fetch(catalogue.url, policy, network, into=part.file)
        part.flush()
        return _index(catalogue, Path(part.name), catalogue.url, folder, sha256, max_mpc)


def _index(
    catalogue: GalaxyCatalogue,
    path: Path,
    source: str,
    folder: Path,
    sha256: str | None,
    max_mpc: float,
) -> dict[str, Any]:
    found = file_sha256(path)
    if sha256 is not None and found != sha256.lower():
        raise ConfigError(f"{source}: sha256 is {found}, not {sha256.lower()}")
    chunks = catalogue.read(path, max_mpc)
    return build_index(chunks, folder, source=source, source_sha256=found)


def install_hats(
    settings: Settings,
    source: str,
    skymap: SkyMap,
    columns: Mapping[str, str],
    *,
    name: str,
    level: float = 0.99,
    max_mpc: float = 1000.0,
) -> dict[str, Any]:
    """Index the galaxies of a HATS catalogue within a map; the manifest.

    ``name``: of the index, one for each map; the same name again replaces it. See
    :func:`followup.hosts_hats.hats_region` for the rest.

    Raises
    ------
    ConfigError
        A name that is no plain word, or what :func:`~followup.hosts_hats.hats_region` says.
    BadInput, MissingPart
        As there.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
        raise ConfigError(f"name: {name!r} is not a plain word")
    found = hats_region(source, skymap, level, columns, max_mpc=max_mpc)
    digest = hashlib.sha256("\n".join(found.name).encode())
    for column in ("ra_deg", "dec_deg", *COLUMNS):
        digest.update(getattr(found, column).tobytes())
    folder = folder_of(settings, f"{_HATS}{name}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    return build_index([found], folder, source=source, source_sha256=digest.hexdigest())


def names(settings: Settings) -> list[str]:
    """The catalogues of which an index is there."""
    places = [*sorted(CATALOGUES), *(p.name for p in sorted(_home(settings).glob(f"{_HATS}*")))]
    return [name for name in places if (folder_of(settings, name) / "manifest.json").exists()]


@dataclass(frozen=True, slots=True)
class _Together:
    """Several indexes as one source."""

    indexes: tuple[GalaxyIndex, ...]

    def near(self, ra_deg: float, dec_deg: float, radius_deg: float) -> Galaxies:
        return joined([index.near(ra_deg, dec_deg, radius_deg) for index in self.indexes])


def installed(settings: Settings) -> GalaxySource | None:
    """The catalogues that are there, as one source; None: none is.

    Raises
    ------
    ConfigError
        An index is there and cannot be used.
    """
    found = []
    for name in names(settings):
        manifest = folder_of(settings, name) / "manifest.json"
        found.append(_opened(manifest.parent, manifest.stat().st_mtime_ns))
    return _Together(tuple(found)) if found else None


@functools.lru_cache(maxsize=32)
def _opened(folder: Path, changed_ns: int) -> GalaxyIndex:
    """An index is opened once, and again when it was built anew."""
    return GalaxyIndex.open(folder)
