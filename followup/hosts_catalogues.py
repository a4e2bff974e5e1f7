"""Published catalogues of galaxies as chunks of :class:`followup.hosts.Galaxies`.

**GLADE+** (Dalya et al. 2022, MNRAS 514, 1403): 40 columns in plain text, separated by blanks,
``null`` where not known. Used are (counted from 1) 3 to 6 names, 8 type (``Q`` quasar, ``G``
otherwise), 9 RA, 10 Dec, 11 B, 33 d_L and 34 its error in Mpc, 35 distance flag (0: neither
redshift nor distance), 36 stellar mass in 10^10 Msun.

**NED-LVS** (Cook et al. 2023, ApJS 268, 14): a FITS table with ``objname``, ``ra``, ``dec``,
``objtype``, ``z_qual`` (true: the redshift is doubtful), ``DistMpc``, ``DistMpc_unc``, ``Mstar``
and, since the release of April 2026, ``Diam`` (major axis, arcsec).

**NED-GWF** (``https://ned.ipac.caltech.edu/uri/NED::GWFglist/csv/<event>/latest``): the galaxies
of one event's volume in CSV; name, ra and dec come first, ``P_3D`` and others after.

Galaxies without a distance, or beyond ``max_mpc``, are left out.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from followup.hosts import Galaxies
from mmcoord.errors import BadInput

__all__ = ["ListedGalaxy", "glade_plus", "ned_gwf", "ned_lvs"]

_CHUNK = 200_000
_GLADE_COLUMNS = 40
_R_MINUS_B = -1.2
"""About the colour of a nearby spiral (Fukugita et al. 1995, PASP 107, 945); types differ by 0.4,
which changes Bloom's density by a third."""
_NED_NO_GALAXY = frozenset({"GClstr", "GGroup", "GPair", "GTrpl", "QSO"})


def glade_plus(lines: Iterable[str], *, max_mpc: float = 1000.0) -> Iterator[Galaxies]:
    """Chunks of the galaxies of GLADE+ in the order of the file.

    Raises
    ------
    BadInput
        A line of another number of columns, or a number that is none; with its line.
    """
    numbered = enumerate(lines, start=1)
    while block := list(itertools.islice(numbered, _CHUNK)):
        kept = [found for n, line in block if (found := _glade(line, n, max_mpc)) is not None]
        if kept:
            yield _galaxies("GLADE+", kept)


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    ra_deg: float
    dec_deg: float
    distance_mpc: float
    distance_err_mpc: float
    magnitude: float
    radius_arcsec: float
    log_mass: float


def _glade(line: str, number: int, max_mpc: float) -> _Row | None:
    cells = line.split()
    if not cells:
        return None
    where = f"line {number}"
    if len(cells) != _GLADE_COLUMNS:
        raise BadInput(f"{len(cells)} columns, not {_GLADE_COLUMNS}", where=where)
    if cells[7] == "Q" or cells[34] == "0":
        return None
    distance = _number(cells[32], where)
    if not 0.0 < distance <= max_mpc:  # false for NaN too
        return None
    mass = _number(cells[35], where)
    names = [name for name in (cells[3], cells[2], cells[4], cells[5]) if name != "null"]
    return _Row(
        name=names[0] if names else f"GLADE+ {cells[0]}",
        ra_deg=_number(cells[8], where) % 360.0,
        dec_deg=_number(cells[9], where),
        distance_mpc=distance,
        distance_err_mpc=_number(cells[33], where),
        magnitude=_number(cells[10], where) + _R_MINUS_B,
        radius_arcsec=math.nan,
        log_mass=math.log10(mass) + 10.0 if mass > 0 else math.nan,
    )


def ned_lvs(path: Path, *, max_mpc: float = 1000.0) -> Iterator[Galaxies]:
    """Chunks of the galaxies of a NED-LVS FITS file.

    Raises
    ------
    BadInput
        No table, or a column is missing.
    """
    from astropy.io import fits

    try:
        with fits.open(path, memmap=True) as file:
            table = next((h for h in file if isinstance(h, fits.BinTableHDU)), None)
            if table is None:
                raise BadInput("no table", where=str(path))
            missing = {"objname", "ra", "dec", "objtype", "DistMpc"} - set(table.columns.names)
            if missing:
                raise BadInput(f"no column {', '.join(sorted(missing))}", where=str(path))
            for start in range(0, len(table.data), _CHUNK):
                yield _ned(table.data[start : start + _CHUNK], set(table.columns.names), max_mpc)
    except OSError as error:
        raise BadInput(str(error), where=str(path)) from error


def _ned(rows: Any, columns: set[str], max_mpc: float) -> Galaxies:
    def numbers(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        if name not in columns:
            return np.full(len(rows), np.nan)
        values = np.array(rows[name], np.float64)
        values[np.abs(values) >= 1e30] = np.nan  # FITS has no null: extremes stand for it
        return values

    distance, mass = numbers("DistMpc"), numbers("Mstar")
    kinds = np.char.strip(np.asarray(rows["objtype"], str))
    kept = (distance > 0) & (distance <= max_mpc) & ~np.isin(kinds, sorted(_NED_NO_GALAXY))
    if "z_qual" in columns:
        kept &= ~np.asarray(rows["z_qual"], bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_mass = np.where(mass > 0, np.log10(mass), np.nan)
    return Galaxies(
        catalogue="NED-LVS",
        name=tuple(str(name).strip() for name in np.asarray(rows["objname"])[kept]),
        ra_deg=numbers("ra")[kept] % 360.0,
        dec_deg=numbers("dec")[kept],
        distance_mpc=distance[kept],
        distance_err_mpc=numbers("DistMpc_unc")[kept],
        magnitude=np.full(int(kept.sum()), np.nan),
        # An isophotal diameter is about four half-light radii.
        radius_arcsec=numbers("Diam")[kept] / 4.0,
        log_mass=log_mass[kept],
    )


@dataclass(frozen=True, slots=True)
class ListedGalaxy:
    """A galaxy of NED's list for one event."""

    name: str
    ra_deg: float
    dec_deg: float
    distance_mpc: float | None
    p_3d: float | None
    """Probability of the map's volume at the galaxy, as NED normalises it."""
    extra: Mapping[str, str]


def ned_gwf(document: str) -> list[ListedGalaxy]:
    """The galaxies of NED's list for an event, in its order.

    Raises
    ------
    BadInput
        Not a CSV with names and positions; with the line.
    """
    reader = csv.reader(io.StringIO(document))
    header = [cell.strip() for cell in next(reader, [])]
    if len(header) < 3 or header[1].lower() != "ra" or header[2].lower() != "dec":
        raise BadInput(f"columns {header[:3]} are not name, ra, dec", where="line 1")
    found = []
    for number, cells in enumerate(reader, start=2):
        if not cells:
            continue
        where = f"line {number}"
        if len(cells) != len(header):
            raise BadInput(f"{len(cells)} columns, not {len(header)}", where=where)
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        ra, dec = _number(cells[1], where), _number(cells[2], where)
        if not 0.0 <= ra < 360.0 or not -90.0 <= dec <= 90.0:
            raise BadInput(f"{ra}, {dec} is no position", where=where)
        found.append(
            ListedGalaxy(
                name=cells[0].strip(),
                ra_deg=ra,
                dec_deg=dec,
                distance_mpc=_optional(row.get("DistMpc"), where),
                p_3d=_optional(row.get("P_3D"), where),
                extra={k: v for k, v in row.items() if k not in header[:3]},
            )
        )
    return found


def _number(cell: str, where: str) -> float:
    cell = cell.strip()
    if cell in ("", "null", "nan", "NaN", "--"):
        return math.nan
    try:
        return float(cell)
    except ValueError:
        raise BadInput(f"{cell[:40]!r} is no number", where=where) from None


def _optional(cell: str | None, where: str) -> float | None:
    value = math.nan if cell is None else _number(cell, where)
    return value if math.isfinite(value) else None


def _galaxies(catalogue: str, rows: Sequence[_Row]) -> Galaxies:
    def column(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([getattr(row, name) for row in rows], np.float64)

    return Galaxies(
        catalogue=catalogue,
        name=tuple(row.name for row in rows),
        ra_deg=column("ra_deg"),
        dec_deg=column("dec_deg"),
        distance_mpc=column("distance_mpc"),
        distance_err_mpc=column("distance_err_mpc"),
        magnitude=column("magnitude"),
        radius_arcsec=column("radius_arcsec"),
        log_mass=column("log_mass"),
    )
