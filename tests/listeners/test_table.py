"""CSV tables: rows survive bad neighbours, and bad values are refused by column."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from listeners.table import parse_candidate, parse_photometry, rows
from mmcoord.errors import BadCandidate, BadInput, BadPhotometry
from mmcoord.records import Candidate, Photometry
from mmcoord.timescales import utc_mjd_to_tai
from tests.shared import shared


def candidate(**cells: str) -> Candidate:
    row = {"id": "AT2017gfo", "ra": "197.450354", "dec": "-23.381484"} | cells
    (made,) = parse_candidate(json.dumps(row).encode())
    return made


def point(**cells: str) -> Photometry:
    row = {"id": "X", "mjd": "58424.4", "band": "ps1::g", "mag": "17.02", "mag_err": "0.02"}
    (made,) = parse_photometry(json.dumps(row | cells).encode())
    return made


# --- cutting a file into rows ---------------------------------------------------------------


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rows_carry_their_line_number_and_their_text(tmp_path):
    path = written(tmp_path, '\ufeffid,ra,dec,note\r\nA,1.50,2,"x, ""y"""\r\n\r\nB,3,4,\r\n')
    assert [(n, json.loads(p)) for n, p in rows(path)] == [
        (2, {"id": "A", "ra": "1.50", "dec": "2", "note": 'x, "y"'}),
        (4, {"id": "B", "ra": "3", "dec": "4", "note": ""}),
    ]


BAD_LINES = {
    b"A,1": "2 columns, the header has 3",
    b"A,1,2,3": "4 columns, the header has 3",
    b'A,"1,2': "not a CSV row",
    b'A,"1"x,2': "not a CSV row",
    b"A\xff,1,2": "not storable",
    b"A,1,2\x00": "not storable",
    b"A," + b"9" * 200_000 + b",2": "field larger",
}


@pytest.mark.parametrize("bad", BAD_LINES, ids=lambda line: repr(line[:12]))
def test_a_bad_line_costs_only_itself(tmp_path, bad):
    path = written(tmp_path, b"id,ra,dec\nfirst,1,2\n" + bad + b"\nlast,3,4\n")
    numbered = list(rows(path))
    assert [number for number, _ in numbered] == [2, 3, 4]
    assert parse_candidate(numbered[0][1])[0].object_id == "first"
    assert parse_candidate(numbered[2][1])[0].object_id == "last"
    with pytest.raises(BadCandidate, match=BAD_LINES[bad]):
        parse_candidate(numbered[1][1])


def test_short_row_is_not_taken_for_an_upper_limit(tmp_path):
    path = written(tmp_path, "id,mjd,band,mag,mag_err\nX,58424.4,ztf:g,19.5\n")
    ((_, payload),) = rows(path)
    with pytest.raises(BadPhotometry, match="4 columns"):
        parse_photometry(payload)


@pytest.mark.parametrize("content", ["", "\n\n", "id,ra,dec\n"])
def test_file_without_rows_yields_none(tmp_path, content):
    assert list(rows(written(tmp_path, content))) == []


def test_repeated_column_is_refused_in_every_row(tmp_path):
    path = written(tmp_path, "id,ra,ra,dec\nA,1,2,3\nB,1,2,3\n")
    for _, payload in rows(path):
        with pytest.raises(BadCandidate, match="same name"):
            parse_candidate(payload)


@given(st.binary(max_size=400))
def test_no_file_stops_the_reader(tmp_path_factory, content):
    path = written(tmp_path_factory.mktemp("noise"), b"id,ra,dec\n" + content)
    for _, payload in rows(path):
        try:
            parse_candidate(payload)
        except BadInput:
            continue


# --- candidates -----------------------------------------------------------------------------


def test_candidate_columns():
    made = candidate(
        z="0.0098",
        z_err="0.0001",
        ebv_mw="0.11",
        distance_mpc="40.7",
        distance_err_mpc="2.4",
        position_error_arcsec="0.1",
        source="lsst",
        is_practice="true",
        note="in NGC 4993",
        host="",
    )
    assert (made.object_id, made.ra_deg, made.dec_deg) == ("AT2017gfo", 197.450354, -23.381484)
    assert (made.redshift, made.redshift_err, made.ebv_mw) == (0.0098, 0.0001, 0.11)
    assert (made.source, made.is_practice, made.position_error_arcsec) == ("lsst", True, 0.1)
    expected = {"distance_mpc": 40.7, "distance_err_mpc": 2.4, "note": "in NGC 4993"}
    assert made.attributes == expected


def test_absent_columns_are_not_known():
    made = candidate()
    assert made.redshift is None
    assert made.ebv_mw is None
    assert made.source == "file"
    assert made.attributes == {}


@pytest.mark.parametrize(
    ("cells", "where"),
    [
        ({"ra": "400"}, "ra"),
        ({"ra": "-1"}, "ra"),
        ({"ra": "nan"}, "ra"),
        ({"ra": "13:09:48.08"}, "ra"),
        ({"ra": "1_0"}, "ra"),
        ({"ra": "\u0661"}, "ra"),
        ({"ra": ""}, "ra"),
        ({"dec": "-90.001"}, "dec"),
        ({"dec": "inf"}, "dec"),
        ({"dec": "1e999"}, "dec"),
        ({"id": ""}, "id"),
        ({"id": "a\x00b"}, "id"),
        ({"z": "twelve"}, "z"),
        ({"z": "25"}, "redshift"),
        ({"z": "0.1", "z_err": "-0.1"}, "z_err"),
        ({"ebv_mw": "-0.2"}, "ebv_mw"),
        ({"distance_mpc": "near"}, "distance_mpc"),
        ({"distance_mpc": "-3"}, "distance_mpc"),
        ({"is_practice": "perhaps"}, "is_practice"),
    ],
)
def test_bad_candidate_names_the_column(cells, where):
    with pytest.raises(BadCandidate) as caught:
        candidate(**cells)
    assert caught.value.where == where


@pytest.mark.parametrize("missing", ["id", "ra", "dec"])
def test_missing_column_of_a_candidate(missing):
    row = {"id": "A", "ra": "1", "dec": "2"}
    del row[missing]
    with pytest.raises(BadCandidate, match=f"{missing}: no such column"):
        parse_candidate(json.dumps(row).encode())


def test_payload_holds_text_only():
    with pytest.raises(BadCandidate, match="ra: text of a cell"):
        parse_candidate(b'{"id": "A", "ra": 1, "dec": "2"}')


# --- photometry -----------------------------------------------------------------------------


def test_detection():
    made = point()
    assert (made.band, made.mag_ab, made.mag_err, made.is_limit) == ("ps1:g", 17.02, 0.02, False)


@pytest.mark.parametrize("error", ["", " ", "inf", "Inf", "+inf", "infinity"])
def test_empty_or_infinite_error_is_a_limit(error):
    made = point(mag_err=error)
    assert made.is_limit
    assert made.mag_err is None
    assert made.mag_ab == 17.02


@pytest.mark.parametrize(
    ("cells", "where"),
    [
        ({"mag_err": "0"}, "mag_err"),
        ({"mag_err": "-0.1"}, "mag_err"),
        ({"mag_err": "nan"}, "mag_err"),
        ({"mag_err": "-inf"}, "mag_err"),
        ({"mag": "inf"}, "mag"),
        ({"mag": ""}, "mag"),
        ({"mag": "17.0*"}, "mag"),
        ({"mjd": "2458424.9"}, "mjd"),
        ({"mjd": "2018-11-01"}, "mjd"),
        ({"mjd": "41316.9"}, "mjd"),
        ({"band": "g"}, "band"),
        ({"band": "lsst:k"}, "band"),
        ({"band": ""}, "band"),
        ({"id": ""}, "id"),
    ],
)
def test_bad_photometry_names_the_column(cells, where):
    with pytest.raises(BadPhotometry) as caught:
        point(**cells)
    assert caught.value.where == where


def test_missing_error_column_is_no_limit():
    row = {"id": "X", "mjd": "58424.4", "band": "ztf:g", "mag": "17"}
    with pytest.raises(BadPhotometry, match="mag_err: no such column"):
        parse_photometry(json.dumps(row).encode())


# --- time scale -----------------------------------------------------------------------------


@given(st.floats(41317.0, 62000.0))
def test_tai_agrees_with_astropy(mjd):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = Time(mjd, format="mjd", scale="utc").tai.mjd
    assert utc_mjd_to_tai(mjd) == pytest.approx(expected, abs=2e-11, rel=0)


@pytest.mark.parametrize("mjd", [57753.0, 57753.5, 57753.999999, 57754.0, 41317.0, 41498.9])
def test_tai_on_days_with_a_leap_second(mjd):
    expected = Time(mjd, format="mjd", scale="utc").tai.mjd
    assert utc_mjd_to_tai(mjd) == pytest.approx(expected, abs=2e-11, rel=0)


def test_tai_is_37_seconds_ahead_since_2017():
    assert point(mjd="58424.0").obs_mjd_tai == pytest.approx(58424 + 37 / 86400, abs=1e-11)


def test_tai_column_is_taken_as_it_is():
    row = {"id": "X", "obs_mjd_tai": "61000.25", "band": "lsstr", "mag": "20", "mag_err": "0.1"}
    (made,) = parse_photometry(json.dumps(row).encode())
    assert (made.obs_mjd_tai, made.band) == (61000.25, "lsst:r")


# --- the prepared night ---------------------------------------------------------------------


def test_scenario_is_read_whole():
    folder = shared("scenarios/gw170817")
    candidates = [parse_candidate(p)[0] for _, p in rows(folder / "candidates.csv")]
    points = [parse_photometry(p)[0] for _, p in rows(folder / "photometry.csv")]
    assert len(candidates) == 4306
    assert len(points) == 16387
    assert {p.object_id for p in points} <= {c.object_id for c in candidates}
    with (folder / "photometry.csv").open() as lines:
        limits = sum(line.rstrip().endswith(",inf") for line in lines)
    assert sum(p.is_limit for p in points) == limits > 0
