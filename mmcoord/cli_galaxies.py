"""``mmcoord galaxies``: catalogues of host galaxies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmcoord.cli_common import ConfigOption, JsonOption, print_json, settings_of

__all__ = ["galaxies_app"]

galaxies_app = typer.Typer(help="Catalogues of host galaxies.", no_args_is_help=True)


@galaxies_app.command("get")
def galaxies_get(
    name: Annotated[str, typer.Argument(help="glade or nedlvs.")],
    file: Annotated[
        Path | None, typer.Option(help="A copy at hand; else it is fetched.", dir_okay=False)
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="What the file must have.")] = None,
    max_mpc: Annotated[float, typer.Option(help="Galaxies farther away are left out.")] = 1000.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a catalogue from its publisher (gigabytes) and index it for the planner."""
    from mmcoord import galaxies

    settings = settings_of(config, None)
    manifest = galaxies.install(settings, name, file=file, sha256=sha256, max_mpc=max_mpc)
    folder = galaxies.folder_of(settings, name)
    if as_json:
        print_json({"folder": str(folder), **manifest})
        return
    print(f"{folder}: {manifest['n']} galaxies of {galaxies.CATALOGUES[name].citation}")
    print(f"sha256 of what came: {manifest['source_sha256']}")


@galaxies_app.command("near")
def galaxies_near(
    ra: Annotated[float, typer.Argument(help="deg")],
    dec: Annotated[float, typer.Argument(help="deg")],
    map_mpc: Annotated[float | None, typer.Option(help="Distance of the event.")] = None,
    map_err_mpc: Annotated[float | None, typer.Option(help="Its error.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """The host factor of a place, as the planner counts it."""
    from followup.hosts import host
    from mmcoord import galaxies

    source = galaxies.installed(settings_of(config, None))
    found = host(source, ra % 360.0, dec, map_mpc=map_mpc, map_err_mpc=map_err_mpc)
    if as_json:
        print_json({"value": found.value, "counted": found.counted, "reason": found.reason})
        return
    print(f"{found.counted:.3f}  {found.reason}")


@galaxies_app.command("check")
def galaxies_check(config: ConfigOption = None) -> None:
    """Compute the checksums of the indexes that are there."""
    from followup.hosts_index import GalaxyIndex
    from mmcoord import galaxies

    settings = settings_of(config, None)
    for name in sorted(galaxies.CATALOGUES):
        folder = galaxies.folder_of(settings, name)
        if not (folder / "manifest.json").exists():
            print(f"{name}: not installed")
            continue
        index = GalaxyIndex.open(folder, verify=True)
        print(f"{name}: {len(index)} galaxies, as built")
