"""Inference on a Dask cluster: local, Slurm, HTCondor, Kubernetes, or one that is there already.

A future's key is the run key, so that equal jobs of several engines on one scheduler are one
computation. For a scheduler that is there already the settings name the certificates.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
import threading
import time
from concurrent.futures import Future
from typing import Any

from mmcoord.dask_settings import DaskSettings
from mmcoord.errors import ConfigError
from mmcoord.inference.job import Job, Result, run_key
from mmcoord.stages.dask_clusters import PREFIX, build_cluster, imported
from mmcoord.stages.executor import ExecutorAway, WorkerLost, run_job

__all__ = ["DaskExecutor", "reach"]

_log = logging.getLogger(__name__)
_AGAIN_S = 10.0
"""How long a scheduler that is away is left alone."""
_TLS_OPTIONS = ("tls_ca_file", "tls_client_cert", "tls_client_key")


class DaskExecutor:
    """Jobs as Dask futures.

    Raises
    ------
    ConfigError
        The extra ``hpc`` is not installed, or the options do not fit the cluster.
    """

    def __init__(self, settings: DaskSettings) -> None:
        imported()
        self._settings = settings
        self._cluster: Any = None
        if settings.cluster == "address":
            _security(settings)  # fail at start, not at the first run
        else:
            self._cluster = build_cluster(settings)
        self._client: Any = None
        self._closed = False
        self._lock = threading.Lock()
        self._connecting = threading.Thread(target=self._connect, daemon=True)
        self._connecting.start()
        self._connecting.join(settings.start_s)

    @property
    def capacity(self) -> int:
        """The workers that there may be, those included that are still to be started; 0 while
        the scheduler is away."""
        return self._settings.maximum if self._connected() is not None else 0

    def submit(self, job: Job, priority: float = 0.0) -> Future[Result]:
        client = self._connected()
        if client is None:
            raise ExecutorAway("Dask's scheduler is away")
        answer: Future[Result] = Future()
        task = client.submit(
            _run,
            job,
            self._settings.threads,
            key=f"{PREFIX}-{run_key(job)}",
            priority=priority,
            retries=0,
        )
        task.add_done_callback(lambda done: _hand_over(done, answer))
        return answer

    def close(self) -> None:
        with self._lock:
            client, cluster = self._client, self._cluster
            self._client = self._cluster = None
            self._closed = True
        for part in (client, cluster):
            if part is not None:
                with contextlib.suppress(Exception):  # whatever it is, we are going
                    part.close(timeout=10)

    def _connected(self) -> Any:
        """The client; None while the scheduler is away. Never waits for it: the infer stage has
        others to serve."""
        with self._lock:
            if self._client is not None and self._client.status == "running":
                return self._client
            if self._client is not None and self._client.status == "connecting":
                return None  # by itself; what runs there is not lost yet
            if not self._closed and not self._connecting.is_alive():
                self._connecting = threading.Thread(target=self._connect, daemon=True)
                self._connecting.start()
            return None

    def _connect(self) -> None:
        """Make the client anew; on failure the scheduler is left alone for a while."""
        old, self._client = self._client, None
        with contextlib.suppress(Exception):  # it is of no use any more, whatever it says
            if old is not None:
                old.close(timeout=1)
        try:
            client = _client(self._settings, self._cluster)
        except Exception as error:
            # A wrong certificate, an address that is none, nobody there: all may be mended.
            _log.warning("Dask's scheduler is away: %s: %s", type(error).__name__, error)
            time.sleep(_AGAIN_S)
            return
        with self._lock:
            if not self._closed:
                self._client = client
                return
        client.close(timeout=1)


def reach(settings: DaskSettings) -> str:
    """For the doctor: who answers, in words. No worker is started by it.

    Raises
    ------
    OSError, TimeoutError
        Nobody answers.
    ConfigError
        As :func:`build_cluster`.
    """
    imported()
    if settings.cluster != "address":
        program = {"slurm": "sbatch", "htcondor": "condor_submit"}.get(settings.cluster)
        if program is not None and shutil.which(program) is None:
            raise ConfigError(f"{program} is not in the PATH: no worker can be started from here")
        cluster = build_cluster(dataclasses.replace(settings, minimum=0))
        with contextlib.closing(cluster), contextlib.closing(_client(settings, cluster)):
            return (
                f"a scheduler can be started, {settings.cluster}, up to {settings.maximum} workers"
            )
    with contextlib.closing(_client(settings, None)) as client:
        n = len(client.nthreads())
        return f"{settings.address} answers, {n} worker{'s' if n != 1 else ''}"


@dataclasses.dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


def _run(job: Job, threads: int) -> Result | _Failed:
    """On the worker. An exception that Dask sees goes into its log with the whole job, and that
    may be private photometry."""
    try:
        return run_job(job, threads)
    except Exception as error:
        # Whatever it is, it is raised again where the answer is handed over.
        return _Failed(error)


def _hand_over(done: Any, answer: Future[Result]) -> None:
    """From Dask's future to ours, on Dask's own thread; forgets the task, so that it can be
    asked for again."""
    _, distributed = imported()
    try:
        outcome = done.result()
        if isinstance(outcome, _Failed):
            answer.set_exception(outcome.error)
        else:
            answer.set_result(outcome)
    except distributed.KilledWorker as error:
        answer.set_exception(
            WorkerLost(f"Dask worker {error.last_worker.name} at {error.last_worker.address} died")
        )
    except distributed.CancelledError:
        answer.set_exception(ExecutorAway("Dask's scheduler has gone, or dropped the job"))
    except (OSError, TimeoutError, distributed.comm.CommClosedError) as error:
        answer.set_exception(ExecutorAway(f"Dask: {type(error).__name__}: {error}"))
    except BaseException as error:
        answer.set_exception(error)
    finally:
        done.release()


def _client(settings: DaskSettings, cluster: Any) -> Any:
    _, distributed = imported()
    security = _security(settings) if cluster is None else cluster.security
    return distributed.Client(
        settings.address if cluster is None else cluster,
        security=security,
        timeout=settings.start_s,
        set_as_default=False,
    )


def _security(settings: DaskSettings) -> Any:
    """Certificates for a scheduler that is there already."""
    _, distributed = imported()
    if unknown := sorted(set(settings.options) - set(_TLS_OPTIONS)):
        raise ConfigError(
            f"infer.dask.options: {unknown[0]!r} is none of {', '.join(_TLS_OPTIONS)}"
        )
    if not settings.options:
        return None
    return distributed.Security(**settings.options, require_encryption=True)
