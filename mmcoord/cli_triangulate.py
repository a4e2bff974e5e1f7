"""``mmcoord triangulate``: where a neutrino burst comes from, by its arrival times alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmcoord.cli_common import ConfigOption, JsonOption, print_json
from mmcoord.config import Settings, load_settings
from mmcoord.errors import ConfigError

if TYPE_CHECKING:
    from skymaps.detectors import TimingMethod
    from skymaps.triangulation import Pointing, Triangulation

__all__ = ["triangulate"]


def triangulate(
    alerts: Annotated[
        list[Path], typer.Argument(help="SNEWS alerts, or reports to SNEWS, of one burst.")
    ],
    out: Annotated[Path | None, typer.Option(help="Sky map (FITS).")] = None,
    picture: Annotated[Path | None, typer.Option(help="Picture of it (PNG).")] = None,
    distance_kpc: Annotated[
        float | None, typer.Option(help="Distance, where known: sets counts and errors.")
    ] = None,
    distance_err_kpc: Annotated[float | None, typer.Option(help="Its error.")] = None,
    pointing: Annotated[
        list[str] | None,
        typer.Option(
            help="Direction from one detector: RA,DEC,RADIUS[,CONTAINMENT] in deg.",
            metavar="RA,DEC,RADIUS",
        ),
    ] = None,
    light_curve: Annotated[
        bool, typer.Option("--light-curve", help="Times are of matched light curves.")
    ] = False,
    flat_prior: Annotated[
        bool, typer.Option("--flat-prior", help="All directions alike, not the Galaxy's.")
    ] = False,
    stars: Annotated[int, typer.Option(help="How many candidate stars to list.")] = 10,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sky map of a neutrino burst from its arrival times."""
    from mmcoord.supernova.messages import arrivals_of, assessment, locate, read_times
    from mmcoord.wiring import detector_table
    from skymaps.load import to_fits_bytes

    settings = load_settings(config)
    burst = read_times((str(path), path.read_bytes()) for path in alerts)
    method: TimingMethod = "light_curve" if light_curve else "first_event"
    spread = _ln_distance_sigma(distance_kpc, distance_err_kpc)
    arrivals, unknown = arrivals_of(
        burst, detector_table(settings), method=method, distance_kpc=distance_kpc
    )
    for name in unknown:
        print(f"mmcoord: {name}: not in the table of detectors; left out", file=sys.stderr)
    found = locate(
        burst,
        arrivals,
        pointings=[_pointing(one) for one in pointing or ()],
        galactic_prior=not flat_prior,
        ln_distance_sigma=spread,
    )
    if out is not None:
        out.write_bytes(to_fits_bytes(found.skymap))
    document = {
        **_document(found, is_test=burst.is_practice, unknown=unknown),
        "distance_kpc": distance_kpc,
        **assessment(burst),
        "stars": _ranked(found, settings, stars, distance_kpc, distance_err_kpc),
    }
    if picture is not None:
        from skymaps.picture import sky_picture

        marks = [(s["name"], s["ra_deg"], s["dec_deg"]) for s in document["stars"][:5]]
        title = f"{len(found.detectors)} detectors{', TEST' if burst.is_practice else ''}"
        picture.write_bytes(sky_picture(found.skymap, marks, title=title))
    if as_json:
        print_json(document)
    else:
        _print(document)


def _ln_distance_sigma(distance_kpc: float | None, error_kpc: float | None) -> float:
    """Of the distance for which counts are taken: half a unit when it is unknown."""
    if distance_kpc is None:
        return 0.5
    if not distance_kpc > 0.0:
        raise ConfigError("--distance-kpc: a distance is positive")
    error = 0.3 * distance_kpc if error_kpc is None else error_kpc
    if not error > 0.0:
        raise ConfigError("--distance-err-kpc: an error is positive")
    return error / distance_kpc


def _pointing(given: str) -> Pointing:
    from skymaps.triangulation import Pointing

    try:
        numbers = [float(part) for part in given.split(",")]
        if not 3 <= len(numbers) <= 4:
            raise ValueError
    except ValueError:
        raise ConfigError(f"--pointing: {given!r} is not RA,DEC,RADIUS[,CONTAINMENT]") from None
    containment = numbers[3] if len(numbers) == 4 else 0.68
    return Pointing(numbers[0], numbers[1], numbers[2], containment)


def _document(found: Triangulation, *, is_test: bool, unknown: list[str]) -> dict[str, Any]:
    from skymaps.credible import credible_area_deg2

    return {
        "detectors": list(found.detectors),
        "unknown_detectors": unknown,
        "is_test": is_test,
        "area_68_deg2": credible_area_deg2(found.skymap, 0.68),
        "area_90_deg2": credible_area_deg2(found.skymap, 0.9),
        "p_value": found.p_value,
        "is_consistent": found.is_consistent,
        "bad_clock_probability": {
            name: round(value, 6) for name, value in found.bad_clock_probability.items()
        },
        "culprit": found.culprit,
        "notes": list(found.notes),
    }


def _ranked(
    found: Triangulation,
    settings: Settings,
    count: int,
    distance_kpc: float | None,
    error_kpc: float | None,
) -> list[dict[str, Any]]:
    from mmcoord.datasets import candidate_stars
    from skymaps.progenitors import rank_progenitors

    if distance_kpc is not None and error_kpc is None:
        error_kpc = 0.3 * distance_kpc
    ranked = rank_progenitors(found.skymap, candidate_stars(settings), distance_kpc, error_kpc)
    return [
        {
            "name": one.star.name,
            "aliases": list(one.star.aliases),
            "kind": one.star.kind,
            "ra_deg": one.star.ra_deg,
            "dec_deg": one.star.dec_deg,
            "distance_kpc": one.star.distance_kpc,
            "credible_level": one.credible_level,
            "weight": one.weight,
            "source": one.star.source,
        }
        for one in ranked[:count]
    ]


def _print(document: dict[str, Any]) -> None:
    test = " (TEST)" if document["is_test"] else ""
    print(f"{', '.join(document['detectors'])}{test}")
    print(
        f"area: {document['area_68_deg2']:.0f} deg2 (68 %), {document['area_90_deg2']:.0f} (90 %)"
    )
    print(f"p = {document['p_value']:.3g}")
    for note in document["notes"]:
        print(f"note: {note}")
    for name, value in document["bad_clock_probability"].items():
        if value > 0.1:
            print(f"the clock of {name} is wrong with probability {value:.2f}")
    for star in document["stars"]:
        far = "-" if star["distance_kpc"] is None else f"{star['distance_kpc']:.2f} kpc"
        print(f"{star['name']:<14} {star['kind']:<4} {far:>9}  level {star['credible_level']:.3f}")
