"""A HATS catalogue that LSDB has written, read back by map region, from disk and over HTTP."""

from __future__ import annotations

import dataclasses
import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.cosmology import Planck15
from typer.testing import CliRunner

import skymaps
from followup.hosts import host
from followup.hosts_hats import hats_region
from mmcoord import galaxies
from mmcoord.cli import app
from mmcoord.config import Settings
from mmcoord.errors import BadInput, ConfigError
from skymaps.regions import region_moc

lsdb = pytest.importorskip("lsdb", reason="the extra lsdb is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")
"""LSDB's own use of pandas."""

MEANT = {"name": "objname", "distance_mpc": "DistMpc", "magnitude": "rmag"}
PLACE = (60.0, -30.0)
MAP = skymaps.from_circle(*PLACE, 15.0)


def table(n: int = 1500) -> pd.DataFrame:
    """Galaxies all over the sky, and one of 14 mag at 40 Mpc where the map is best."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "objname": [f"G{k}" for k in range(n)],
            "RA": rng.uniform(0.0, 360.0, n),
            "DEC": np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, n))),
            "DistMpc": rng.uniform(10.0, 1500.0, n),
            "z": rng.uniform(0.001, 0.1, n),
            "rmag": rng.uniform(14.0, 21.0, n),
        }
    )
    frame.loc[0, ["RA", "DEC", "DistMpc", "rmag"]] = [*PLACE, 40.0, 14.0]
    frame.loc[1, "DistMpc"] = np.nan
    return frame


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = lsdb.from_dataframe(
        table(), ra_column="RA", dec_column="DEC", lowest_order=0, highest_order=2,
        catalog_name="galaxies",
    )  # fmt: skip
    folder: Path = tmp_path_factory.mktemp("hats") / "galaxies"
    made.write_catalog(folder, progress_bar=False)
    return folder


def inside(frame: pd.DataFrame, level: float) -> pd.DataFrame:
    """The rows within the region, by mocpy alone."""
    moc = region_moc(MAP, level)
    ra, dec = frame["RA"].to_numpy() * u.deg, frame["DEC"].to_numpy() * u.deg
    return frame[moc.contains_lonlat(ra, dec)]


def test_the_galaxies_of_the_region_come_and_no_others(catalogue: Path) -> None:
    wanted = inside(table(), 0.9)
    wanted = wanted[wanted["DistMpc"] <= 1000.0].set_index("objname")
    found = hats_region(str(catalogue), MAP, 0.9, MEANT)
    assert len(wanted) > 10
    assert sorted(found.name) == sorted(wanted.index)
    again = wanted.loc[list(found.name)]
    assert found.ra_deg.tolist() == again["RA"].tolist()
    assert found.distance_mpc.tolist() == again["DistMpc"].tolist()
    assert found.magnitude.tolist() == again["rmag"].tolist()
    assert np.isnan(found.radius_arcsec).all()


def test_a_redshift_stands_in_for_a_distance(catalogue: Path) -> None:
    found = hats_region(str(catalogue), MAP, 0.9, {"name": "objname", "redshift": "z"})
    by_name = table().set_index("objname").loc[list(found.name)]
    wanted = Planck15.luminosity_distance(by_name["z"].to_numpy()).to_value("Mpc")
    assert found.distance_mpc == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"name": "objname"}, "distance_mpc or redshift is needed"),
        ({"distance_mpc": "D"}, "no column 'D'"),
        ({"colour": "rmag", "redshift": "z"}, "'colour' is none of"),
    ],
)
def test_columns_that_cannot_be_meant_are_named(
    catalogue: Path, columns: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        hats_region(str(catalogue), MAP, 0.9, columns)


def test_where_there_is_nothing_it_is_said(catalogue: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no HATS catalogue"):
        hats_region(str(tmp_path), MAP, 0.9, MEANT)
    with pytest.raises(BadInput, match="no galaxy with a distance up to 1 Mpc"):
        hats_region(str(catalogue), MAP, 0.9, MEANT, max_mpc=1.0)


def test_over_http_to_the_host_factor_by_the_command(catalogue: Path, tmp_path: Path) -> None:
    """A static server, as catalogues are published."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    handler = functools.partial(Quiet, directory=str(catalogue.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = tmp_path / "mmcoord.toml"
    config.write_text(f'data_dir = "{tmp_path}/data"\n')
    path = tmp_path / "S1.fits"
    path.write_bytes(skymaps.to_fits_bytes(MAP))
    meant = ",".join(f"{meaning}={column}" for meaning, column in MEANT.items())
    try:
        made = CliRunner().invoke(
            app,
            [
                *("galaxies", "hats", f"http://127.0.0.1:{server.server_address[1]}/galaxies"),
                *("--map", str(path), "--columns", meant, "--config", str(config), "--json"),
            ],
        )
    finally:
        server.shutdown()
        server.server_close()
    assert made.exit_code == 0, made.output
    manifest = json.loads(made.stdout)
    assert manifest["catalogue"] == "galaxies"
    settings = dataclasses.replace(Settings(), data_dir=str(tmp_path / "data"))
    assert galaxies.names(settings) == ["hats-S1"]
    source = galaxies.installed(settings)
    assert source is not None
    at_home = host(source, *PLACE, map_mpc=40.0, map_err_mpc=8.0)
    assert at_home.value is not None
    assert at_home.value > 0.8
    assert "G0" in at_home.reason
    check = CliRunner().invoke(app, ["galaxies", "check", "--config", str(config)])
    assert "hats-S1: " in check.stdout


def test_the_name_of_an_index_cannot_lead_elsewhere(catalogue: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(Settings(), data_dir=str(tmp_path))
    with pytest.raises(ConfigError, match="plain word"):
        galaxies.install_hats(settings, str(catalogue), MAP, MEANT, name="../x")
