"""Lists of an event as CSV, VOTable and JSON. Pure.

One description of each column (unit, UCD, meaning) serves all three.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmcoord.records import PlanTile
from mmcoord.store.views import Target
from mmcoord.store.views_candidates import CandidateLine
from mmcoord.store.views_log import Point

__all__ = [
    "Column",
    "Rows",
    "candidate_rows",
    "photometry_rows",
    "plan_rows",
    "tile_rows",
    "to_csv",
    "to_json",
    "to_votable",
]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    kind: type
    """float, int or str."""
    unit: str
    ucd: str
    description: str


@dataclass(frozen=True, slots=True)
class Rows:
    """A table: columns, and rows of values in their order; None is not known."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]


_CANDIDATE = (
    Column("rank", int, "", "meta.code", "place in the newest plan"),
    Column("object_id", str, "", "meta.id;meta.main", "identifier"),
    Column("source", str, "", "meta.ref", "where the candidate was heard of"),
    Column("ra_deg", float, "deg", "pos.eq.ra;meta.main", "right ascension, ICRS"),
    Column("dec_deg", float, "deg", "pos.eq.dec;meta.main", "declination, ICRS"),
    Column("credible_level_2d", float, "", "stat.probability", "credible level on the sky"),
    Column("credible_level_3d", float, "", "stat.probability", "credible level in the volume"),
    Column("time_offset_day", float, "d", "time.interval", "first detection after the event"),
    Column("p_kilonova", float, "", "stat.probability", "probability of being a kilonova"),
    Column("screening", str, "", "meta.note", "what the screen said"),
    Column("run_key", str, "", "meta.id", "the inference behind it"),
)
_PHOTOMETRY = (
    Column("mjd_tai", float, "d", "time.epoch", "modified Julian date, TAI"),
    Column("band", str, "", "instr.bandpass", "band"),
    Column("mag", float, "mag", "phot.mag", "AB magnitude, or the limit"),
    Column("mag_err", float, "mag", "stat.error;phot.mag", "its error; none for a limit"),
)
_PLAN = (
    Column("rank", int, "", "meta.code", "place in the plan"),
    Column("object_id", str, "", "meta.id;meta.main", "identifier"),
    Column("ra_deg", float, "deg", "pos.eq.ra;meta.main", "right ascension, ICRS"),
    Column("dec_deg", float, "deg", "pos.eq.dec;meta.main", "declination, ICRS"),
    Column("score", float, "", "stat.value", "product of the factors"),
    Column("credible_level_2d", float, "", "stat.probability", "credible level on the sky"),
    Column("credible_level_3d", float, "", "stat.probability", "credible level in the volume"),
    Column("p_kilonova", float, "", "stat.probability", "probability of being a kilonova"),
    Column("instrument", str, "", "instr", "who is asked to observe"),
    Column("band", str, "", "instr.bandpass", "in which band"),
    Column("start", str, "", "time.start;obs", "when, ISO 8601 UTC"),
    Column("exposure_s", float, "s", "time.duration;obs.exposure", "for how long"),
    Column("predicted_mag", float, "mag", "phot.mag", "expected AB magnitude"),
    Column("distance_mpc", float, "Mpc", "pos.distance", "luminosity distance"),
    Column("distance_err_mpc", float, "Mpc", "stat.error;pos.distance", "its error"),
    Column("further_looks", str, "", "meta.note", "instrument, band, start of each; s of exposure"),
    Column("run_key", str, "", "meta.id", "the inference behind it"),
)


_TILE = (
    Column("tile_id", str, "", "meta.id;meta.main", "name of the field, for claims"),
    Column("instrument", str, "", "instr", "who is asked to observe"),
    Column("band", str, "", "instr.bandpass", "in which band"),
    Column("ra_deg", float, "deg", "pos.eq.ra;meta.main", "right ascension of the centre, ICRS"),
    Column("dec_deg", float, "deg", "pos.eq.dec;meta.main", "declination of the centre, ICRS"),
    Column("field_deg2", float, "deg**2", "instr.fov", "area of the square field, north up"),
    Column("start", str, "", "time.start;obs", "when, ISO 8601 UTC"),
    Column("exposure_s", float, "s", "time.duration;obs.exposure", "for how long"),
    Column("probability", float, "", "stat.probability", "of the map within the field"),
    Column(
        "new_probability", float, "", "stat.probability", "that this image is the first to show it"
    ),
    Column("reach", float, "", "stat.probability", "that a counterpart there would be seen"),
    Column("score", float, "", "stat.value", "worth at its best, as a target's score"),
    Column("reason", str, "", "meta.note", "why"),
)


def tile_rows(tiles: Sequence[PlanTile]) -> Rows:
    """The tiles of a plan."""
    return _rows(_TILE, [{**asdict(tile), "start": tile.start.isoformat()} for tile in tiles])


def candidate_rows(lines: Sequence[CandidateLine]) -> Rows:
    """The matched candidates."""
    return _rows(_CANDIDATE, [asdict(line) for line in lines])


def photometry_rows(points: Sequence[Point]) -> Rows:
    """A light curve."""
    return Rows(
        _PHOTOMETRY,
        tuple((p.obs_mjd_tai, p.band, p.mag_ab, None if p.is_limit else p.mag_err) for p in points),
    )


def plan_rows(targets: Sequence[Target]) -> Rows:
    """The rows of a plan, each factor a column; one that is not known is empty."""
    names = sorted({name for target in targets for name in target.row.get("factors") or {}})
    factors = tuple(
        Column(f"factor_{name}", float, "", "stat.value", f"factor {name} of the score")
        for name in names
    )
    documents = [
        {
            **target.row,
            "rank": target.rank,
            "object_id": target.object_id,
            "score": target.score,
            "further_looks": "; ".join(map(_look, target.row.get("looks") or ())) or None,
            **{f"factor_{name}": (target.row.get("factors") or {}).get(name) for name in names},
        }
        for target in targets
    ]
    return _rows((*_PLAN, *factors), documents)


def _look(look: Mapping[str, Any]) -> str:
    return (
        f"{look['role']}: {look['instrument']} {look['band']} {look['start']} "
        f"{look['exposure_s']:.0f} s"
    )


def _rows(columns: tuple[Column, ...], documents: Sequence[Mapping[str, Any]]) -> Rows:
    return Rows(columns, tuple(tuple(d.get(c.name) for c in columns) for d in documents))


def to_csv(table: Rows) -> bytes:
    """RFC 4180, UTF-8, with a line of names; what is not known is empty."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([column.name for column in table.columns])
    writer.writerows(["" if value is None else value for value in row] for row in table.rows)
    return out.getvalue().encode()


def to_json(table: Rows, about: Mapping[str, Any]) -> bytes:
    """``{**about, "columns": [...], "rows": [{name: value}]}``."""
    names = [column.name for column in table.columns]
    document = {
        **about,
        "columns": [
            {"name": c.name, "unit": c.unit, "description": c.description} for c in table.columns
        ],
        "rows": [dict(zip(names, row, strict=True)) for row in table.rows],
    }
    return json.dumps(document, ensure_ascii=False).encode()


def to_votable(table: Rows, about: Mapping[str, Any]) -> bytes:
    """VOTable 1.4 with units and UCDs; ``about`` becomes its description."""
    import numpy as np
    from astropy.io.votable.tree import CooSys, Resource, TableElement, VOTableFile
    from astropy.io.votable.tree import Field as VOField

    document = VOTableFile(version="1.4")
    resource = Resource()
    document.resources.append(resource)
    resource.coordinate_systems.append(CooSys(ID="icrs", system="ICRS"))
    element = TableElement(document, name=_xml_text(str(about.get("event", "event"))))
    element.description = _xml_text(json.dumps(dict(about), ensure_ascii=False))
    resource.tables.append(element)
    for column in table.columns:
        field = VOField(
            document,
            name=column.name,
            datatype={float: "double", int: "long", str: "unicodeChar"}[column.kind],
            arraysize="*" if column.kind is str else None,
            unit=column.unit or None,
            ucd=column.ucd,
        )
        field.description = column.description
        if column.kind is not str and column.name in ("ra_deg", "dec_deg"):
            field.ref = "icrs"
        element.fields.append(field)
    element.create_arrays(len(table.rows))
    for column in table.columns:
        element.array[column.name] = {str: "", int: 0, float: np.nan}[column.kind]
    for i, row in enumerate(table.rows):
        for column, value in zip(table.columns, row, strict=True):
            if value is None:
                element.array.mask[i][column.name] = True
            else:
                element.array[column.name][i] = (
                    _xml_text(value) if column.kind is str else column.kind(value)
                )
    out = io.BytesIO()
    document.to_xml(out)
    return out.getvalue()


def _xml_text(value: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return "".join(
        c if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"
        else "\ufffd"
        for c in value
    )  # fmt: skip
