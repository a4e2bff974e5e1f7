"""``mmcoord data``: published tables that are fetched once and kept."""

from __future__ import annotations

from typing import Annotated

import typer

from mmcoord.cli_common import ConfigOption
from mmcoord.config import load_settings
from mmcoord.datasets import DATA_SETS, get, kept
from mmcoord.errors import ConfigError

__all__ = ["data_app"]

data_app = typer.Typer(help="Published tables, fetched once.", no_args_is_help=True)


@data_app.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help=f"Which: {', '.join(DATA_SETS)}.")],
    config: ConfigOption = None,
) -> None:
    """Fetch a table from its publication, check it, and keep it in the data directory."""
    if name not in DATA_SETS:
        raise ConfigError(f"{name!r} is none of {', '.join(DATA_SETS)}")
    path = get(DATA_SETS[name], kept(load_settings(config), name))
    print(f"{path}: {DATA_SETS[name].citation}")
