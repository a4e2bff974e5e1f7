"""``mmcoord fit`` takes every photometry file as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mmcoord.cli import app
from mmcoord.errors import BadPhotometry
from mmcoord.inference.files import read_photometry
from mmcoord.timescales import datetime_from_mjd_tai, mjd_utc
from tests.shared import have_shared, shared

FOLDER = "kn/photometry"
GFO_TRIGGER_MJD = 57982.5285236896


def files() -> list[str]:
    """Names of the real files below the folder."""
    if not have_shared():
        return []
    root = shared(FOLDER)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.dat"))


def fit(path: Path, t0_mjd: float, *more: str) -> Result:
    arguments = ["fit", str(path), "--t0", str(t0_mjd), "--ess", "100", "--json", *more]
    return CliRunner().invoke(app, arguments, catch_exceptions=True)


def day_before(path: Path) -> float:
    """MJD (UTC), a day before the first detection."""
    detections = [p.obs_mjd_tai for p in read_photometry(path).photometry if not p.is_limit]
    return mjd_utc(datetime_from_mjd_tai(min(detections))) - 1.0


@pytest.mark.parametrize("name", files())
def test_every_file_is_fitted_or_refused_with_its_name(name: str) -> None:
    path = shared(f"{FOLDER}/{name}")
    if not path.read_bytes().strip():
        error = fit(path, 59000.0, "--model", "steady").exception
        assert isinstance(error, BadPhotometry)
        assert str(path) in str(error)
        assert "empty file" in str(error)
        return
    t0 = GFO_TRIGGER_MJD if name.startswith("AT2017gfo") else day_before(path)
    result = fit(path, t0, "--distance-mpc", "40", "--model", "steady")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["model"] == "steady"
    assert summary["n_detections"] > 0


def test_at2017gfo_with_the_milky_ways_dust_is_a_kilonova() -> None:
    path = shared(f"{FOLDER}/AT2017gfo.dat")
    result = fit(
        path, GFO_TRIGGER_MJD, "--distance-mpc", "40", "--distance-err", "1", "--ebv-mw", "0.105",
        "--model", "villar17_2,sn_ia,afterglow,steady",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["p_kilonova"] > 0.99
    # Published totals (Villar et al. 2017 and others): 0.05 to 0.09.
    assert 0.04 < summary["derived"]["ejecta_mass_total_msun"]["median"] < 0.1


@pytest.mark.long
def test_four_points_of_one_band_are_no_proof_of_a_kilonova() -> None:
    path = shared(f"{FOLDER}/ztf_candidates/ZTF21abjrmes.dat")
    result = fit(path, day_before(path), "--model", "villar17_1,sn_ia,fast_blackbody,steady")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["p_kilonova"] < 0.9
