"""``mmcoord doctor`` without a broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmcoord.doctor import examine
from tests.typed import Typed, typed


def test_operators_are_looked_at_before_they_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "mmcoord.toml"
    sink = f'[sinks.ops]\nkind = "file"\noptions = {{ folder = "{tmp_path / "ops"}" }}\n'
    path.write_text(f'data_dir = "{tmp_path}"\noperators = ["ops"]\n{sink}')
    found = {finding.what: finding for finding in examine(path, None)}
    assert found["operators"].text == "alarms are told to ops"
    path.write_text(f'data_dir = "{tmp_path}"\noperators = ["pager"]\n{sink}')
    found = {finding.what: finding for finding in examine(path, None)}
    assert not found["parts"].good
    assert "no sink is named 'pager'" in found["parts"].text


def test_operators_can_be_told_a_test(tmp_path: Path) -> None:
    path = tmp_path / "mmcoord.toml"
    sink = f'[sinks.ops]\nkind = "file"\noptions = {{ folder = "{tmp_path / "ops"}" }}\n'

    def run(operators: str) -> Typed:
        path.write_text(f'data_dir = "{tmp_path}"\noperators = [{operators}]\n{sink}')
        return typed("alarms", "--test", "--config", str(path))

    none = run("")
    assert none.returncode == 1
    assert "none is named" in none.stderr
    told = run('"ops"')
    assert (told.returncode, told.stdout.split()[:2]) == (0, ["ops:", "sent"])
    (file,) = (tmp_path / "ops").glob("*.json")
    assert json.loads(file.read_text())["payload"]["text"].startswith("TEST")


@pytest.mark.parametrize(
    ("infer", "is_good", "told"),
    [
        ("workers = 3", True, "3 processes of this machine"),
        ('executor = "none"', True, "workers come for runs over HTTPS"),
        ('executor = "dask"\n[infer.dask]\ncluster = "slurm"', False, "sbatch is not in the PATH"),
        (
            'executor = "dask"\n[infer.dask]\ncluster = "address"\n'
            'address = "tcp://127.0.0.1:9"\nstart_s = 0.5',
            False,
            "Dask, address: ",
        ),
    ],
)
def test_where_inference_runs_is_told_and_whether_it_can_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, infer: str, is_good: bool, told: str
) -> None:
    if "dask" in infer:
        pytest.importorskip("distributed", reason="extra hpc is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "mmcoord.toml"
    path.write_text(f'data_dir = "{tmp_path}"\n[infer]\n{infer}\n')
    (found,) = [finding for finding in examine(path, None) if finding.what == "inference"]
    assert found.good is is_good
    assert told in found.text
