"""``mmcoord bank``: the screening bank on disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from mmcoord.cli_common import ConfigOption, JsonOption, print_json, settings_of

__all__ = ["bank_app"]

bank_app = typer.Typer(
    help="The screening bank: light curves of every class, kept on disk by version.",
    no_args_is_help=True,
)


@bank_app.command("build")
def build(
    bands: Annotated[
        str, typer.Option(help="Bands with commas, 'surveys' (LSST, ZTF, 2MASS) or 'all'.")
    ] = "surveys",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make what is missing, and remove the files of other versions.

    Not needed: a band is built when it is first asked for.
    """
    from mmcoord.bands import MODELLED, canonical
    from mmcoord.inference import bank

    _keep(config)
    names = {"all": MODELLED, "surveys": bank.SURVEY_BANDS}.get(bands) or tuple(
        canonical(name) for name in bands.split(",")
    )
    start = time.monotonic()
    made = bank.build(names)
    wall_s = round(time.monotonic() - start, 2)
    if as_json:
        print_json({"made": made, "folder": str(bank.folder()), "wall_s": wall_s})
    else:
        print(f"{len(made)} of {len(names)} bands built in {wall_s:g} s: {bank.folder()}")


@bank_app.command("show")
def show(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Version, place, bands and calibration."""
    from mmcoord.inference import bank, bank_curves
    from mmcoord.inference.calibration import installed

    _keep(config)
    calibration = installed()
    document = {
        "version": bank.version(),
        "recipe": bank_curves.recipe(),
        "folder": str(bank.folder()),
        "bands": bank.stored(),
        "curves": {"kilonova": bank_curves.N_KILONOVAE, "others": bank_curves.N_OTHERS},
        "distances_mpc": list(bank_curves.NODES_MPC),
        "calibration": {
            "is_current": calibration.is_current,
            "fitted_for": calibration.recipe,
            "shift": list(calibration.shift),
            "stretch": list(calibration.stretch),
        },
    }
    if as_json:
        print_json(document)
        return
    print(f"version      {bank.version()[:16]}")
    print(f"folder       {bank.folder()}")
    print(f"bands        {', '.join(bank.stored()) or 'none yet; built on first use'}")
    print(f"curves       {bank_curves.N_KILONOVAE} kilonovae, {bank_curves.N_OTHERS} contaminants")
    fitted = "for this bank" if calibration.is_current else "FOR ANOTHER BANK, to be fitted anew"
    print(f"calibration  fitted {fitted}")


@bank_app.command("check")
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Compare what is stored with its checksums and with the models; exit 1 on a fault."""
    from mmcoord.inference import bank
    from mmcoord.inference.calibration import installed

    _keep(config)
    found = bank.check()
    is_current = installed().is_current
    if as_json:
        print_json(
            {
                "bands": [{"band": one.band, "fault": one.fault} for one in found],
                "calibration_is_current": is_current,
            }
        )
    else:
        for one in found:
            print(f"{one.band:10s} {one.n_bytes / 1e6:7.1f} MB  {one.fault or 'good'}")
        if not is_current:
            print("calibration: fitted for another bank")
    if any(one.fault for one in found) or not is_current:
        raise typer.Exit(1)


def _keep(config: Path | None) -> None:
    from mmcoord.inference import bank

    folder = settings_of(config, None).infer.bank_dir
    if folder:
        bank.keep_in(Path(folder))
