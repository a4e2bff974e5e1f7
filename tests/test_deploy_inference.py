"""The examples of where inference runs: they load, and make the jobs that they promise."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmcoord.cli import app
from mmcoord.config import load_settings
from mmcoord.dask_settings import DaskSettings

DEPLOY = Path(__file__).parents[1] / "deploy"
SITES = ("slurm", "htcondor", "kubernetes-dask")


def dask_of(site: str) -> DaskSettings:
    settings = load_settings(DEPLOY / site / "mmcoord.toml", {})
    assert settings.infer.executor == "dask"
    return settings.infer.dask


@pytest.mark.parametrize("site", SITES)
def test_every_example_is_read(site: str) -> None:
    assert dask_of(site).cluster == site.removesuffix("-dask")


def script_of(site: str, folder: Path) -> str:
    """The job script that dask-jobqueue makes of an example; no job is submitted."""
    pytest.importorskip("dask_jobqueue", reason="extra hpc is not installed")
    import dataclasses

    from mmcoord.stages.dask_clusters import build_cluster

    settings = dask_of(site)
    here = {"shared_temp_directory": str(folder), "log_directory": str(folder), "interface": "lo"}
    options = {**settings.options, **here}
    cluster = build_cluster(dataclasses.replace(settings, options=options))
    try:
        return str(cluster.job_script())
    finally:
        cluster.close()


def test_slurm_s_job_script_asks_for_what_the_example_says(tmp_path: Path) -> None:
    script = script_of("slurm", tmp_path)
    for line in ("-p short", "-A astro", "-t 01:00:00", "--cpus-per-task=2", "--qos=urgent"):
        assert f"#SBATCH {line}\n" in script
    for part in ("module load python", "export NUMBA_NUM_THREADS=2", "--lifetime 50m", "tls://"):
        assert part in script
    assert worker_threads(script) == "1"
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_htcondor_s_submit_file_asks_for_what_the_example_says(tmp_path: Path) -> None:
    script = script_of("htcondor", tmp_path)
    for line in ("RequestCpus = MY.DaskWorkerCores", "+WantsShortQueue = True", "Queue"):
        assert line in script
    assert "accounting_group = ligo.prod.o4.em.mmcoord" in script
    assert "NUMBA_NUM_THREADS=1" in script
    assert "tls://" in script
    assert worker_threads(script) == "1"


def worker_threads(script: str) -> str:
    """The last ``--nthreads``, which is the one that counts."""
    return re.findall(r"--nthreads (\d+)", script)[-1]


def test_kubernetes_resource_is_of_the_example() -> None:
    pytest.importorskip("dask_kubernetes", reason="extra hpc is not installed")
    from mmcoord.stages.dask_clusters import kubernetes_spec

    spec = kubernetes_spec(dask_of("kubernetes-dask"))
    worker = spec["spec"]["worker"]
    (container,) = worker["spec"]["containers"]
    assert (spec["metadata"]["name"], worker["replicas"]) == ("mmcoord", 0)
    assert container["image"] == "registry.example.org/mmcoord:0.1.0"
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "4Gi"}


@pytest.mark.parametrize("file", ["slurm/worker.sbatch", "htcondor/worker.sub"])
def test_the_worker_s_command_line_is_one_that_the_command_takes(file: str) -> None:
    text = (DEPLOY / file).read_text().replace("\\\n", " ")
    found = re.search(r"worker\s+(--url .*)", text)
    assert found is not None
    line = found.group(1).replace("$HOME", "/nowhere")
    words = shlex.split(line if line.count('"') % 2 == 0 else line.rstrip('"'))
    result = CliRunner().invoke(app, ["worker", *words])
    # It gets as far as reading the token, which is not here.
    assert "No such file" in str(result.exception)
    if file.endswith("sbatch"):
        assert subprocess.run(["bash", "-n", DEPLOY / file], check=False).returncode == 0
