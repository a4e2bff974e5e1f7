"""Published tables that are fetched once, pinned by their checksum, and kept."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmcoord.config import Settings
from mmcoord.errors import MmcoordError
from mmcoord.fetching import Network, Policy, fetch

if TYPE_CHECKING:
    from skymaps.progenitors import Progenitor

__all__ = ["DATA_SETS", "DataSet", "candidate_stars", "get", "kept"]


@dataclass(frozen=True)
class DataSet:
    """A file of a publication, pinned by its checksum."""

    url: str
    host: str
    sha256: str
    file: str
    citation: str


DATA_SETS = {
    "rsg": DataSet(
        url="https://raw.githubusercontent.com/SNEWS2/candidate_list/"
        "e557e1c12f1dee8de8847d44b7ef114d67c915cf/data/RSG_and_close_stars_catalog_4_11_24.csv",
        host="raw.githubusercontent.com",
        sha256="e176b3177080ce86855fbcdcc06533a8eb6f781cba96ace2920a227ea3ccd9c2",
        file="RSG_and_close_stars_catalog_4_11_24.csv",
        citation="Healy et al. 2024, MNRAS 529, 3630: red supergiants of the Galaxy",
    )
}
"""Only these, only from where they were published."""


def kept(settings: Settings, name: str) -> Path:
    """Where a data set is, once fetched: the user's own file, else the data directory."""
    if name == "rsg" and settings.bursts.red_supergiants:
        return Path(settings.bursts.red_supergiants)
    return Path(settings.data_dir) / "data" / DATA_SETS[name].file


def get(data: DataSet, path: Path, network: Network | None = None) -> Path:
    """The file of a data set, fetched unless it is there already with the right bytes.

    Raises
    ------
    MmcoordError
        It cannot be fetched, or is not what was published; nothing is written then.
    """
    if path.exists() and _digest(path.read_bytes()) == data.sha256:
        return path
    policy = Policy(hosts=frozenset({data.host}))
    content = fetch(data.url, policy) if network is None else fetch(data.url, policy, network)
    found = _digest(content)
    if found != data.sha256:
        raise MmcoordError(f"{data.url}: sha256 {found}, published was {data.sha256}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(content)
    os.replace(part, path)
    return path


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def candidate_stars(settings: Settings) -> tuple[Progenitor, ...]:
    """The built-in stars, and the red supergiants where their catalogue was fetched.

    Raises
    ------
    MmcoordError
        A catalogue that cannot be read.
    """
    from skymaps.progenitors import builtin_progenitors, merge_progenitors, read_rsg_catalogue
    from skymaps.skymap import SkyMapError

    path = kept(settings, "rsg")
    if not path.exists():
        return builtin_progenitors()
    try:
        return merge_progenitors(read_rsg_catalogue(path), builtin_progenitors())
    except SkyMapError as error:
        raise MmcoordError(f"{path}: {error}") from error
