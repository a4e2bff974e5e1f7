"""``mmcoord data``: published tables that are fetched once and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmcoord import aladin
from mmcoord.cli_common import ConfigOption
from mmcoord.config import load_settings
from mmcoord.datasets import DATA_SETS, get, kept
from mmcoord.errors import ConfigError

__all__ = ["data_app"]

ALADIN_LITE = "aladin-lite"

data_app = typer.Typer(help="Published tables, fetched once.", no_args_is_help=True)


@data_app.command("get")
def data_get(
    name: Annotated[
        str, typer.Argument(help=f"Which: {', '.join(DATA_SETS)}; {ALADIN_LITE}, the sky viewer.")
    ],
    config: ConfigOption = None,
    archive: Annotated[
        Path | None,
        typer.Option("--from", help="Of the viewer: its package, as `npm pack` fetches it."),
    ] = None,
) -> None:
    """Fetch a table from its publication, check it, and keep it in the data directory."""
    if name == ALADIN_LITE:
        if archive is None:
            raise ConfigError(
                f"{name} is under the GPL and not fetched by mmcoord: get it with "
                f"`npm pack {name}@{aladin.VERSION}` and give the file with --from"
            )
        print(f"{aladin.install(archive, load_settings(config))}: Aladin Lite, GPL-3, CDS")
        return
    if name not in DATA_SETS:
        raise ConfigError(f"{name!r} is none of {', '.join(DATA_SETS)}")
    path = get(DATA_SETS[name], kept(load_settings(config), name))
    print(f"{path}: {DATA_SETS[name].citation}")
