"""The screening bank on disk: built once, found again, never silently stale."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcoord.cli import app
from mmcoord.errors import BadPhotometry
from mmcoord.inference import bank, bank_curves
from mmcoord.inference.bank_curves import (
    EDGES,
    N_KILONOVAE,
    N_OTHERS,
    NODES_MPC,
    T_DAY,
    moduli,
    node_of,
)
from mmcoord.inference.calibration import Calibration, recipe
from mmcoord.inference.likelihood import hubble_redshift
from mmcoord.inference.models import registry
from mmcoord.inference.passbands import passbands

BAND = "lsst:r"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    bank.keep_in(tmp_path)
    yield tmp_path
    bank.keep_in(None)


def forget() -> None:
    """As in a new process."""
    bank.band.cache_clear()


def test_a_band_is_built_once_and_found_again(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mmcoord.inference.bank"):
        first = bank.band(BAND).copy()
        forget()
        second = bank.band(BAND)
    assert np.array_equal(first, second)
    assert not second.flags.writeable
    assert [r.getMessage() for r in caplog.records if "built lsst:r" in r.getMessage()][1:] == []
    assert bank.stored() == [BAND]
    assert bank.build([BAND, "lsst:i"]) == ["lsst:i"]


@pytest.mark.parametrize("harm", ["cut short", "emptied", "another shape"])
def test_a_broken_file_is_built_anew(place: Path, harm: str) -> None:
    good = bank.band(BAND).copy()
    path = bank.folder() / "lsst_r.npy"
    forget()
    if harm == "another shape":
        np.save(path, good[:3])
    else:
        path.write_bytes(path.read_bytes()[: 1000 if harm == "cut short" else 0])
    assert np.array_equal(bank.band(BAND), good)
    assert [one.fault for one in bank.check()] == [None]


def test_another_version_is_not_used_and_is_removed_by_a_build(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = bank.folder()
    bank.band(BAND)
    monkeypatch.setattr(bank_curves, "_SEED", bank_curves._SEED + 1)
    bank_curves.recipe.cache_clear()
    bank.version.cache_clear()
    forget()
    assert bank.folder() != old
    assert bank.stored() == []
    (place / "not ours").mkdir()
    assert bank.build([BAND]) == [BAND]
    assert not old.exists()
    assert (place / "not ours").exists()
    monkeypatch.undo()
    bank_curves.recipe.cache_clear()
    bank.version.cache_clear()


def test_check_tells_a_changed_file(place: Path) -> None:
    bank.band(BAND)
    path = bank.folder() / "lsst_r.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x40
    path.write_bytes(content)
    forget()
    (found,) = bank.check()
    assert found.fault == "differs from its checksum"


def test_where_nothing_can_be_written_it_is_kept_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    bank.keep_in(tmp_path / "file")
    try:
        assert bank.band(BAND).shape[0] == len(T_DAY)
        assert "kept in memory alone" in caplog.text
    finally:
        bank.keep_in(None)


def test_curves_are_the_models_at_their_distances(place: Path) -> None:
    """Each contaminant as its model gives it, at the distance that ``moduli`` states."""
    mags = bank.band(BAND)
    index = np.zeros(len(T_DAY), dtype=np.int64)
    model, theta, distance_mpc = bank_curves._draw("sn_ia", 2048)
    again = model.magnitudes(
        theta[:20], distance_mpc[:20], hubble_redshift(distance_mpc[:20]), T_DAY, index,
        passbands((BAND,), 0.0),
    )  # fmt: skip
    first = EDGES[0]
    assert np.allclose(mags[:, first : first + 20], again.T, atol=1e-4)
    assert np.allclose(moduli()[first : first + 20], 5 * np.log10(distance_mpc[:20] * 1e5))
    assert np.isnan(moduli()[-1])  # steady sources are anywhere
    assert {registry.load(n).distance for n in ("sn_ia", "sn_ibc", "sn_iib")} == {"own"}


def test_the_same_kilonova_further_away_is_fainter_and_redder(place: Path) -> None:
    r, z = bank.band(BAND), bank.band("lsst:z")
    near, far = (
        slice(
            N_OTHERS + k * N_KILONOVAE,
            N_OTHERS + (k + 1) * N_KILONOVAE,
        )
        for k in (0, 3)
    )
    seen = (r[20, near] < 40) & (r[20, far] < 40)
    fainter = (r[20, far] - r[20, near])[seen]
    modulus = 5.0 * np.log10(NODES_MPC[3] / NODES_MPC[0])
    assert abs(np.median(fainter) - modulus) < 1.0
    redder = ((r - z)[20, far] - (r - z)[20, near])[seen]
    assert np.mean(redder > 0) > 0.9


def test_nearest_node_in_the_logarithm() -> None:
    assert [node_of(d) for d in (1.0, 60.0, 80.0, 119.0, 500.0, 5000.0)] == [
        0,
        0,
        1,
        1,
        3,
        3,
    ]


def test_unknown_band_is_refused(place: Path) -> None:
    with pytest.raises(BadPhotometry, match="no transmission curve"):
        bank.band("radio:3ghz")


def test_the_map_is_monotonic_bounded_and_knows_what_it_is_for() -> None:
    one = Calibration("old", (0.5, -0.2), (0.8, 1.0), 10.0)
    assert [one(x, 1) for x in (-100.0, 0.0, 1.0, 100.0)] == pytest.approx([-10.0, 0.5, 1.3, 10.0])
    assert one(3.0, 2) == one(3.0, 7) == pytest.approx(2.8)
    assert not one.is_current
    assert Calibration(recipe(), (0.0,), (1.0,), 10.0).is_current


def test_the_command_builds_shows_and_checks(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = place / "settings.toml"
    settings.write_text(f'[infer]\nbank_dir = "{place / "bank"}"\n')

    def run(*words: str) -> Any:
        app(["bank", *words, "--json", "--config", str(settings)], standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    assert run("build", "--bands", "lsstr")["made"] == [BAND]
    shown = run("show")
    assert (shown["bands"], shown["version"]) == ([BAND], bank.version())
    assert run("check")["bands"] == [{"band": BAND, "fault": None}]
