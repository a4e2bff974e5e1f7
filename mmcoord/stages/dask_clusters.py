"""Starting a Dask cluster as the settings name it.

Dask's wire carries pickles: whoever reaches the scheduler can execute code. What is started here
therefore speaks TLS with certificates made for it alone (but for Kubernetes, whose operator
starts the scheduler).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mmcoord.dask_settings import DaskSettings
from mmcoord.errors import ConfigError

__all__ = ["PREFIX", "build_cluster", "imported", "kubernetes_spec"]

PREFIX = "mmcoord"
"""Of the keys; Dask learns how long a kind of task takes from what comes before the dash."""
_EXPECTED = "30s"
"""Until it has learnt: long enough for a worker of its own."""
_NO_DASHBOARD = "127.0.0.1:0"
"""Dask cannot do without its web server; nobody but this machine is to see it."""


def imported() -> tuple[Any, Any]:
    """The packages dask and distributed.

    Raises
    ------
    ConfigError
        They are not installed.
    """
    try:
        import dask
        import distributed
    except ImportError:
        raise ConfigError(
            "infer.executor: Dask is not installed: pip install 'mmcoord[hpc]'"
        ) from None
    return dask, distributed


def build_cluster(settings: DaskSettings) -> Any:
    """Start the cluster's scheduler here and let the number of its workers follow the work.

    Raises
    ------
    ConfigError
        The extra ``hpc`` is not installed, or an option is none of the cluster's.
    """
    dask, _ = imported()
    # Dask would run a job again by itself, three times, and tell nobody which worker died of it.
    dask.config.set(
        {
            "distributed.scheduler.allowed-failures": 0,
            # A run that waits waits here, where a more urgent one can overtake it.
            "distributed.scheduler.worker-saturation": 1.0,
            f"distributed.scheduler.default-task-durations.{PREFIX}": _EXPECTED,
        }
    )
    try:
        cluster = _BUILDERS[settings.cluster](settings)
    except ImportError as error:
        raise ConfigError(f"infer.dask: {error}; pip install 'mmcoord[hpc]'") from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"infer.dask.options: {error}") from None
    cluster.adapt(
        minimum=settings.minimum,
        maximum=settings.maximum,
        interval="1s",
        wait_count=max(1, round(settings.idle_s)),
    )
    return cluster


def _local(settings: DaskSettings) -> Any:
    _, distributed = imported()
    return distributed.LocalCluster(
        **{
            "n_workers": settings.minimum,
            "threads_per_worker": 1,
            "host": "127.0.0.1",
            "dashboard_address": _NO_DASHBOARD,
            "security": True,
            "env": {"NUMBA_NUM_THREADS": str(settings.threads)},
            **settings.options,
        }
    )


def _job_queue(name: str) -> Callable[[DaskSettings], Any]:
    """A cluster of dask-jobqueue: each worker is a job of the batch system."""

    def build(settings: DaskSettings) -> Any:
        import dask_jobqueue

        options = dict(settings.options)
        if not {"shared_temp_directory", "security"} & set(options):
            raise ConfigError(
                "infer.dask.options: shared_temp_directory: a folder of this user's that the "
                "workers see too is needed for their certificates"
            )
        prologue = [
            f"export NUMBA_NUM_THREADS={settings.threads}",
            *options.pop("job_script_prologue", []),
        ]
        scheduler = {"dashboard_address": _NO_DASHBOARD, **options.pop("scheduler_options", {})}
        return getattr(dask_jobqueue, name)(
            **{
                "cores": settings.threads,
                "processes": 1,
                "memory": "4GB",
                "protocol": "tls://",
                "security": True,
                "job_script_prologue": prologue,
                "scheduler_options": scheduler,
                # A worker holds one job at a time, whatever cores the batch system gives it.
                "worker_extra_args": ["--nthreads", "1", *options.pop("worker_extra_args", [])],
                **options,
            }
        )

    return build


def _kubernetes(settings: DaskSettings) -> Any:
    from dask_kubernetes.operator import KubeCluster

    return KubeCluster(custom_cluster_spec=kubernetes_spec(settings))


def kubernetes_spec(settings: DaskSettings) -> Mapping[str, Any]:
    """The ``DaskCluster`` resource that the Dask operator is given.

    Raises
    ------
    ConfigError
        No image, or an option that is not known.
    """
    from dask_kubernetes.operator import make_cluster_spec

    options = dict(settings.options)
    if "image" not in options:
        raise ConfigError("infer.dask.options: image: the container that has mmcoord is needed")
    try:
        spec: dict[str, Any] = make_cluster_spec(
            **{
                "name": "mmcoord",
                "n_workers": settings.minimum,
                "env": {
                    "NUMBA_NUM_THREADS": str(settings.threads),
                    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
                    **options.pop("env", {}),
                },
                "worker_command": ["dask", "worker", "--nthreads", "1"],
                **options,
            }
        )
    except TypeError as error:
        raise ConfigError(f"infer.dask.options: {error}") from None
    return spec


_BUILDERS: dict[str, Callable[[DaskSettings], Any]] = {
    "local": _local,
    "slurm": _job_queue("SLURMCluster"),
    "htcondor": _job_queue("HTCondorCluster"),
    "kubernetes": _kubernetes,
}
