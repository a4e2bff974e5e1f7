"""A real Slurm with one node on this machine, started once per test session.

As root, with a munge and a configuration of its own, in folders of its own and on free ports. No
control groups: ``proctrack/pgid`` and ``task/none`` work in a container too.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system import missing

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")


@dataclass(frozen=True)
class Slurm:
    """A running Slurm; its client programs find it by ``SLURM_CONF``."""

    conf: Path
    folder: Path

    def jobs(self) -> dict[str, str]:
        """Number of each job -> its state, as the queue shows it."""
        out = subprocess.run(
            ["squeue", "--noheader", "--format=%A %T"], check=True, capture_output=True, text=True
        ).stdout
        return dict(line.split() for line in out.splitlines() if line.strip())

    def cancel(self, job: str) -> None:
        """``scancel``: the batch system ends the worker."""
        subprocess.run(["scancel", job], check=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_CONF = """\
ClusterName=mmcoord
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000
KillWait=2
MessageTimeout=30
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=16000 State=UNKNOWN
PartitionName=night Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """The batch system, with ``SLURM_CONF`` set for everything that the test starts."""
    with running_slurm() as found:
        yield found


@contextmanager
def running_slurm() -> Iterator[Slurm]:
    """The batch system behind the fixture, for benchmarks too."""
    paths = os.environ["PATH"].split(":")
    search = ":".join([*paths, *(p for p in ("/usr/sbin", "/sbin") if p not in paths)])
    absent = [name for name in _PROGRAMS if shutil.which(name, path=search) is None]
    if absent:
        missing(f"Slurm's {', '.join(absent)} (Debian: slurm-wlm munge)")
    if os.geteuid() != 0:
        missing("the right to start Slurm's daemons (root)")
    folder = Path(tempfile.mkdtemp(prefix="mmcoord-slurm-"))
    folder.chmod(0o755)
    before = os.environ.get("SLURM_CONF")
    try:
        with ExitStack() as daemons:
            conf = _configured(folder)
            os.environ["SLURM_CONF"] = str(conf)
            _start(daemons, folder, search, *_munged(folder))
            _wait(lambda: (folder / "munge.socket").exists(), folder)
            _start(daemons, folder, search, "slurmctld", "-D", "-i")
            _start(daemons, folder, search, "slurmd", "-D")
            found = Slurm(conf, folder)
            _wait(_is_idle, folder)
            yield found
            for job in found.jobs():
                found.cancel(job)
    finally:
        os.environ.pop("SLURM_CONF", None)
        if before is not None:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(folder, ignore_errors=True)


def _configured(folder: Path) -> Path:
    for name in ("spool", "state"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    conf = folder / "slurm.conf"
    conf.write_text(
        _CONF.format(
            host=socket.gethostname().split(".")[0],
            ctld_port=_free_port(),
            slurmd_port=_free_port(),
            folder=folder,
            cpus=os.cpu_count(),
        )
    )
    return conf


def _munged(folder: Path) -> list[str]:
    files = {
        "key-file": "munge.key",
        "socket": "munge.socket",
        "pid-file": "munge.pid",
        "log-file": "munge.log",
        "seed-file": "munge.seed",
    }
    options = [f"--{name}={folder / file}" for name, file in files.items()]
    return ["munged", "--foreground", "--force", *options]


def _start(daemons: ExitStack, folder: Path, search: str, name: str, *arguments: str) -> None:
    program = shutil.which(name, path=search)
    assert program is not None
    log = (folder / f"{name}.out").open("w")
    daemon = subprocess.Popen([program, *arguments], stdout=log, stderr=log, cwd=folder)

    def stop() -> None:
        daemon.terminate()
        try:
            daemon.wait(timeout=20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        log.close()

    daemons.callback(stop)


def _is_idle() -> bool:
    said = subprocess.run(
        ["sinfo", "--noheader", "--format=%t"], capture_output=True, text=True, timeout=60
    )
    return said.stdout.split() == ["idle"]


def _wait(what: object, folder: Path) -> None:
    assert callable(what)
    for _ in range(300):
        if what():
            return
        time.sleep(0.2)
    logs = "\n".join(f"{p.name}: {p.read_text()[-800:]}" for p in sorted(folder.glob("*.log")))
    raise RuntimeError(f"Slurm did not come up within 60 s\n{logs}")
