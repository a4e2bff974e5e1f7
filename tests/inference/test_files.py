"""Photometry files as people have them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcoord.errors import BadPhotometry
from mmcoord.inference.files import read_photometry
from mmcoord.timescales import utc_mjd_to_tai
from tests.shared import shared

EMPTY = {"ZTF21abdhqle.dat", "ZTF21abitmou.dat"}
LINES = {"AT2017gfo.dat": 141, "AT2017gfo_corrected.dat": 116, "ZTF23aaxeacr.dat": 43}


def test_every_real_file_is_read_without_editing() -> None:
    folder = shared("kn/photometry")
    files = sorted(folder.rglob("*.dat"))
    assert len(files) == 10
    for path in files:
        if path.name in EMPTY:
            with pytest.raises(BadPhotometry, match="empty file"):
                read_photometry(path)
            continue
        read = read_photometry(path)
        n = sum(int(note.split()[0]) for note in read.skipped)
        assert len(read.photometry) + n == len(path.read_text().splitlines())
        assert len(read.photometry) == LINES.get(path.name, len(read.photometry))


def test_radio_and_x_rays_are_left_out_and_named() -> None:
    read = read_photometry(shared("kn/photometry/AT2017gfo_GRB170817A_corrected.dat"))
    assert any("radio-3GHz" in note for note in read.skipped)
    assert any("X-ray-1keV" in note for note in read.skipped)


def test_both_formats_say_the_same(tmp_path: Path) -> None:
    columns = tmp_path / "a.dat"
    columns.write_text(
        "2017-08-18T00:00:00.000 ps1::g 17.019 0.02\n2017-08-19T12:00:00 sdssu 19.1 inf\n"
    )
    table = tmp_path / "a.csv"
    table.write_text("mjd,band,mag,mag_err\n57983.0,ps1:g,17.019,0.02\n57984.5,sdss:u,19.1,\n")
    a, b = (read_photometry(p).photometry for p in (columns, table))
    assert [(p.band, p.mag_ab, p.mag_err, p.is_limit) for p in a] == [
        (p.band, p.mag_ab, p.mag_err, p.is_limit) for p in b
    ]
    for x, y in zip(a, b, strict=True):
        assert x.obs_mjd_tai == pytest.approx(y.obs_mjd_tai, abs=1e-9)
    assert a[0].obs_mjd_tai == pytest.approx(57983.0 + 37.0 / 86400.0, abs=1e-9)


def test_tai_columns_are_taken_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("band,obs_mjd_tai,mag,mag_err,note\nztfg,60000.5,20.1,0.1,hello\n")
    assert read_photometry(path).photometry[0].obs_mjd_tai == 60000.5
    assert utc_mjd_to_tai(60000.0) == pytest.approx(60000.0 + 37.0 / 86400.0, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "empty file"),
        ("# only a comment\n\n", "empty file"),
        ("mjd,band,mag,mag_err\n", "no optical"),
        ("time,band,mag\n1,2,3\n", "lacks mjd"),
        ("mjd,band,mag,mag_err\n60000,r,20,0.1\n", "line 2: band: 'r' is ambiguous"),
        ("mjd,band,mag,mag_err\n60000,lsst:q,20,0.1\n", "line 2: band: unknown band 'lsst:q'"),
        ("mjd,band,mag,mag_err\n60000,lsstr,twenty,0.1\n", "line 2: mag 'twenty'"),
        ("mjd,band,mag,mag_err\n60000,lsstr,20,-0.1\n", "line 2: mag_err"),
        ("yesterday lsstr 20 0.1\n", "line 1: 'yesterday' is not an ISO time"),
        ("2017-08-18T00:00:00 lsstr\n", "line 1: 2 columns"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(BadPhotometry, match=match):
        read_photometry(path)


def test_a_missing_file_is_bad_photometry(tmp_path: Path) -> None:
    with pytest.raises(BadPhotometry, match="cannot be read"):
        read_photometry(tmp_path / "none.csv")


@given(text=st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_no_text_does_more_than_raise_bad_photometry(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "x.csv"
    path.write_text(text, encoding="utf-8")
    try:
        read_photometry(path)
    except BadPhotometry:
        return
