"""Settings of the Dask cluster that runs inferences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmcoord.errors import ConfigError

__all__ = ["DaskSettings"]


@dataclass(frozen=True, slots=True)
class DaskSettings:
    """The Dask cluster that runs inferences."""

    cluster: str = "local"
    """``local``, ``slurm``, ``htcondor``, ``kubernetes``, or ``address``: one that is there."""
    address: str = ""
    """Of the scheduler, for ``address``: ``tls://HOST:PORT``."""
    minimum: int = 0
    """Workers that are kept when there is nothing to do."""
    maximum: int = 4
    """Workers, as many as there is work for; a worker has one job at a time."""
    threads: int = 1
    """That a job uses."""
    start_s: float = 30.0
    """How long to wait for the scheduler."""
    idle_s: float = 60.0
    """A worker that has had nothing to do for so long is sent home."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Passed on to the cluster's class (``queue``, ``memory``, ``job_extra_directives`` ...);
    for ``address``: ``tls_ca_file``, ``tls_client_cert``, ``tls_client_key``."""

    def __post_init__(self) -> None:
        known = ("local", "slurm", "htcondor", "kubernetes", "address")
        if self.cluster not in known:
            raise ConfigError(f"infer.dask: cluster: {self.cluster!r} is not {', '.join(known)}")
        if (self.cluster == "address") != bool(self.address):
            raise ConfigError("infer.dask: address is needed for cluster 'address', and only there")
        if not 0 <= self.minimum <= self.maximum or self.maximum < 1 or self.threads < 1:
            raise ConfigError("infer.dask: 0 <= minimum <= maximum, at least one worker and thread")
