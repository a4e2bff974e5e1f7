"""``mmcoord data``: published tables that are fetched once and kept."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mmcoord.cli_common import ConfigOption
from mmcoord.config import Settings, load_settings
from mmcoord.errors import ConfigError, MmcoordError
from mmcoord.fetching import Network, Policy, fetch

__all__ = ["DATA_SETS", "DataSet", "data_app", "get", "rsg_path"]

data_app = typer.Typer(help="Published tables, fetched once.", no_args_is_help=True)


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


def rsg_path(settings: Settings) -> Path:
    """Where the red supergiants are, once fetched."""
    return Path(settings.bursts.red_supergiants or _kept(settings, DATA_SETS["rsg"]))


def _kept(settings: Settings, data: DataSet) -> Path:
    return Path(settings.data_dir) / "data" / data.file


@data_app.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help=f"Which: {', '.join(DATA_SETS)}.")],
    config: ConfigOption = None,
) -> None:
    """Fetch a table from its publication, check it, and keep it in the data directory."""
    if name not in DATA_SETS:
        raise ConfigError(f"{name!r} is none of {', '.join(DATA_SETS)}")
    data = DATA_SETS[name]
    path = get(data, _kept(load_settings(config), data))
    print(f"{path}: {data.citation}")


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
