"""``mmcoord galaxies``: catalogues of host galaxies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmcoord.cli_common import (
    ConfigOption,
    DbOption,
    JsonOption,
    print_json,
    settings_of,
    store,
)
from mmcoord.errors import UnknownRecord

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


@galaxies_app.command("hats")
def galaxies_hats(
    source: Annotated[str, typer.Argument(help="Path or address of a HATS catalogue.")],
    columns: Annotated[
        str,
        typer.Option(help="MEANING=COLUMN with commas; distance_mpc or redshift is needed."),
    ],
    event: Annotated[str | None, typer.Option(help="The event whose map is read.")] = None,
    skymap: Annotated[
        Path | None, typer.Option("--map", help="A map instead.", exists=True, dir_okay=False)
    ] = None,
    level: Annotated[float, typer.Option(help="Credible region that is read.")] = 0.99,
    max_mpc: Annotated[float, typer.Option(help="Galaxies farther away are left out.")] = 1000.0,
    name: Annotated[str | None, typer.Option(help="Of the index; default: event or map.")] = None,
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read the galaxies of a HATS catalogue within a map, through LSDB (extra lsdb), and index
    them for the planner."""
    import skymaps
    from mmcoord import galaxies
    from mmcoord.store import finding
    from mmcoord.store.tables import EventRow, LocalizationRow

    if (event is None) == (skymap is None):
        raise typer.BadParameter("either --event or --map is needed")
    meant = {}
    for part in columns.split(","):
        meaning, _, column = part.partition("=")
        if not meaning.strip() or not column.strip():
            raise typer.BadParameter(f"--columns: {part!r} is not MEANING=COLUMN")
        meant[meaning.strip()] = column.strip()
    settings = settings_of(config, db)
    if skymap is not None:
        found, called = skymaps.load(skymap.read_bytes()), skymap.name.partition(".")[0]
    else:
        assert event is not None
        with store(settings) as database, database.read() as session:
            called = finding.one(session, event)
            row = session.get(EventRow, called)
            place = session.get(LocalizationRow, row.localization_id) if row else None
            if place is None:
                raise UnknownRecord(f"event {called!r} has no map")
            found = skymaps.load(place.fits)
    manifest = galaxies.install_hats(
        settings, source, found, meant, name=name or called, level=level, max_mpc=max_mpc
    )
    if as_json:
        print_json(manifest)
        return
    print(f"{manifest['n']} galaxies of {source} within {100 * level:g} % of {called}")


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
    there = galaxies.names(settings)
    for name in sorted({*galaxies.CATALOGUES, *there}):
        folder = galaxies.folder_of(settings, name)
        if name not in there:
            print(f"{name}: not installed")
            continue
        index = GalaxyIndex.open(folder, verify=True)
        print(f"{name}: {len(index)} galaxies, as built")
