"""Builds ``response.json``: events per neutrino luminosity in each kind of detector.

Offline, for developers: needs the extra ``rates`` (snewpy and its SNOwGLoBES data: cross
sections, smearing, efficiencies), which nothing needs at run time.

    python -m mmcoord.supernova.build_response

For each flavour at the source and each mean energy: events per second that 1e52 erg/s in that
flavour makes at 10 kpc, with a pinched thermal spectrum (Keil, Raffelt & Janka 2003), pinch
2.5, after the adiabatic MSW effect in normal ordering. Kinds are SNOwGLoBES' configurations,
scaled to the mass of the named detector.
"""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import numpy as np

__all__ = ["main"]

ENERGIES_MEV = (8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 24.0, 28.0)
FLAVOURS = ("NU_E", "NU_E_BAR", "NU_X")
PINCH = 2.5
KINDS = {
    "Super-K": ("wc100kt30prct", 32.5 / 100.0),
    "Hyper-K": ("wc100kt30prct", 220.0 / 100.0),
    "JUNO": ("scint20kt", 1.0),
    "LVD": ("scint20kt", 1.0 / 20.0),
    "KamLAND": ("scint20kt", 1.0 / 20.0),
    "SNO+": ("scint20kt", 0.78 / 20.0),
    "DUNE": ("ar40kt", 1.0),
    "IceCube": ("icecube", 1.0),
    "KM3NeT": ("km3net", 1.0),
    "NOvA": ("novaFD", 1.0),
    "HALO": ("halo1", 1.0),
}
"""Detector: SNOwGLoBES configuration, factor of its mass."""


def _rates(configuration: str, flavour: str) -> list[float]:
    """Events per second at each mean energy."""
    from astropy import units as u
    from astropy.table import Table
    from snewpy.flavor_transformation import AdiabaticMSW
    from snewpy.models.base import PinchedModel
    from snewpy.neutrino import MassHierarchy
    from snewpy.rate_calculator import RateCalculator

    number = len(ENERGIES_MEV)
    columns: dict[str, Any] = {"TIME": np.arange(number, dtype=float)}
    for name in FLAVOURS:
        # Luminosities of NU_X are those of each of the four heavy species.
        columns[f"L_{name}"] = np.full(number, 1e52 if name == flavour else 1e30)
        columns[f"E_{name}"] = np.array(ENERGIES_MEV)
        columns[f"ALPHA_{name}"] = np.full(number, PINCH)
    model = PinchedModel(Table(columns), {})
    flux = model.get_flux(
        np.arange(number, dtype=float) * u.s,
        np.linspace(0.5, 100.0, 400) * u.MeV,
        10.0 * u.kpc,
        AdiabaticMSW(mh=MassHierarchy.NORMAL),
    )
    found = RateCalculator().run(flux, configuration)
    total = np.zeros(number)
    for name, channel in found.items():
        if "bkg" not in str(name):
            total += channel.sum("energy").array.squeeze().to_value(1 / u.s)
    return [float(f"{value:.6g}") for value in total]


def main() -> None:
    """Write the table beside this module."""
    cache: dict[tuple[str, str], list[float]] = {}
    table: dict[str, dict[str, list[float]]] = {}
    for detector, (configuration, factor) in KINDS.items():
        table[detector] = {}
        for flavour in FLAVOURS:
            key = (configuration, flavour)
            if key not in cache:
                cache[key] = _rates(configuration, flavour)
            table[detector][flavour] = [float(f"{factor * rate:.6g}") for rate in cache[key]]
    document = {
        "made_by": f"snewpy {version('snewpy')}, snowglobes-data {version('snowglobes-data')}",
        "unit": "events per second at 10 kpc for 1e52 erg/s in the flavour",
        "pinch": PINCH,
        "energies_mev": list(ENERGIES_MEV),
        "flavours": list(FLAVOURS),
        "events": table,
    }
    path = files("mmcoord.supernova").joinpath("response.json")
    with open(str(path), "w", encoding="utf-8") as out:
        text = json.dumps(document, indent=1)
        # One line for each list of numbers.
        out.write(re.sub(r"\[[^\[\]]*\]", lambda found: " ".join(found[0].split()), text) + "\n")


if __name__ == "__main__":
    main()
