"""Galaxies of a HATS catalogue within a map, read through LSDB (the extra ``lsdb``).

HATS (Hierarchical Adaptive Tiling Scheme) keeps a catalogue as Parquet files by HEALPix pixel, on
disk or behind an address; LSDB reads those alone that a region touches. So a catalogue of any size
serves an event without being fetched as a whole. Which column means what the caller says
(:data:`MEANINGS`); a redshift stands in where there is no distance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from followup.hosts import Galaxies
from mmcoord.errors import BadInput, ConfigError, MissingPart
from skymaps import SkyMap
from skymaps.redshift import redshift_distance
from skymaps.regions import region_moc

__all__ = ["MEANINGS", "hats_region"]

Float = npt.NDArray[np.float64]

MEANINGS = (
    "name", "ra", "dec", "distance_mpc", "distance_err_mpc", "redshift", "magnitude",
    "radius_arcsec", "log_mass",
)  # fmt: skip
"""What a column may be: degrees, Mpc, magnitudes in or near R, half-light radius, log10 of solar
masses."""


def hats_region(
    source: str,
    skymap: SkyMap,
    level: float,
    columns: Mapping[str, str],
    *,
    max_mpc: float = 1000.0,
) -> Galaxies:
    """The galaxies of a catalogue in the credible region of ``level``.

    Parameters
    ----------
    source
        Path or address of a HATS catalogue or collection.
    columns
        Meaning -> name of its column; ``distance_mpc`` or ``redshift`` is needed. Positions are the
        catalogue's own where ``ra`` and ``dec`` are not given.

    Galaxies without a distance, or beyond ``max_mpc``, are left out.

    Raises
    ------
    MissingPart
        LSDB is not installed.
    ConfigError
        A meaning that is none, neither distance nor redshift, or a column that is not there.
    BadInput
        No such catalogue, or it has nothing in the region.
    """
    unknown = sorted(set(columns) - set(MEANINGS))
    if unknown:
        raise ConfigError(f"columns: {unknown[0]!r} is none of {', '.join(MEANINGS)}")
    if not {"distance_mpc", "redshift"} & set(columns):
        raise ConfigError("columns: distance_mpc or redshift is needed")
    frame, found = _read(source, skymap, level, columns)

    def numbers(meaning: str) -> Float:
        if meaning not in found:
            return np.full(len(frame), np.nan)
        return np.asarray(frame[found[meaning]].to_numpy(dtype=np.float64, na_value=np.nan))

    distance = numbers("distance_mpc")
    if "redshift" in found:
        by_redshift, _, _ = redshift_distance(numbers("redshift"))
        distance = np.where(np.isnan(distance), by_redshift, distance)
    kept = (distance > 0) & (distance <= max_mpc)
    if not kept.any():
        raise BadInput(f"no galaxy with a distance up to {max_mpc:g} Mpc in the map", where=source)
    names = (
        frame[found["name"]].astype(str).to_numpy()
        if "name" in found
        else np.array([f"{n}" for n in range(len(frame))])
    )
    return Galaxies(
        catalogue=source.rstrip("/").rpartition("/")[2],
        name=tuple(str(name) for name in names[kept]),
        ra_deg=numbers("ra")[kept] % 360.0,
        dec_deg=numbers("dec")[kept],
        distance_mpc=distance[kept],
        **{
            meaning: numbers(meaning)[kept]
            for meaning in ("distance_err_mpc", "magnitude", "radius_arcsec", "log_mass")
        },
    )


def _read(
    source: str, skymap: SkyMap, level: float, columns: Mapping[str, str]
) -> tuple[Any, dict[str, str]]:
    """The rows in the region, and the columns by their meaning."""
    try:
        import hats
        import lsdb
    except ImportError as error:
        raise MissingPart(
            "HATS catalogues need the extra 'lsdb': pip install mmcoord[lsdb]"
        ) from error
    try:
        about = hats.read_hats(source)
    except (OSError, ValueError) as error:
        raise BadInput(f"no HATS catalogue: {error}", where=source) from error
    about = getattr(about, "main_catalog", about)
    own = {"ra": about.catalog_info.ra_column, "dec": about.catalog_info.dec_column}
    found = {**own, **columns}
    for meaning, name in found.items():
        if name not in about.schema.names:
            raise ConfigError(f"columns: {meaning}: {source} has no column {name!r}")
    region = lsdb.MOCSearch(region_moc(skymap, level))
    try:
        catalogue = lsdb.open_catalog(
            source, search_filter=region, columns=sorted(set(found.values()))
        )
    except ValueError as error:  # as LSDB says that the region is not covered
        raise BadInput(str(error), where=source) from error
    return catalogue.compute(progress_bar=False), found
