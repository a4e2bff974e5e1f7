"""A worker for a site behind a firewall: takes runs over HTTPS, does them, brings the results.

It needs no inbound port and no access to the store: it asks, the server lets the question wait
until there is a run. The token (scope ``worker``) is all that it is trusted with; it sees the
public runs and its own group's. Models from others are confined here as on the server.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from mmcoord.errors import ConfigError, Refused
from mmcoord.inference.job import Result, run_key
from mmcoord.stages.answers import result_to_json
from mmcoord.stages.executor import ExecutorAway, PoolExecutor
from mmcoord.stages.jobs import job_from_json

__all__ = ["Worker", "WorkerSettings", "token_of"]

_log = logging.getLogger(__name__)
_API = "/api/v1/worker"
_WAIT_S = 20.0
"""How long the server lets a question wait."""
_TIMEOUT_S = 30.0
_BACKOFF_S = (1.0, 60.0)
_BEATS = 4
_MAX_JOB_BYTES = 16 * 2**20
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Whom to work for.

    Raises
    ------
    ConfigError
        An address over which a token must not go.
    """

    url: str
    token: str = field(repr=False)
    jobs: int = 1
    name: str = ""
    """For people; default: the host's name."""
    ca_file: str | None = None
    """Certificates that are trusted in place of the system's."""

    def __post_init__(self) -> None:
        url = httpx.URL(self.url)
        if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(url.host)):
            raise ConfigError(f"--url: {self.url!r} is not https: the token would go in the clear")
        if self.jobs < 1:
            raise ConfigError("--jobs: at least one")


def token_of(file: Path | None, environ: Mapping[str, str] = os.environ) -> str:
    """The token, from a file or from ``MMCOORD_TOKEN``.

    Raises
    ------
    ConfigError
        There is none, or everybody on the machine can read the file.
    """
    if file is None:
        if not environ.get("MMCOORD_TOKEN"):
            raise ConfigError("a token is needed: --token-file, or MMCOORD_TOKEN")
        return environ["MMCOORD_TOKEN"]
    try:
        if file.stat().st_mode & 0o007:
            raise ConfigError(f"{file}: everybody can read the token; chmod o= {file}")
        return file.read_text().strip()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error


class Worker:
    """Does runs until told to stop; each slot has one at a time."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._is_told_to_stop = False
        self._refused: Exception | None = None
        host = re.sub(r"[^A-Za-z0-9._-]", "-", settings.name or socket.gethostname())
        self._name = host[:64] or "worker"
        self._cores = max(1, (os.cpu_count() or 1) // settings.jobs)
        verify = ssl.create_default_context(cafile=settings.ca_file)
        self._http = httpx.Client(
            base_url=settings.url.rstrip("/"),
            headers={"Authorization": f"Bearer {settings.token}"},
            timeout=_TIMEOUT_S,
            verify=verify,
        )
        self._executor = PoolExecutor(settings.jobs)

    def stop(self) -> None:
        """Give back what is in hand and end; may be called by a signal handler."""
        self._is_told_to_stop = True

    def run(self) -> None:
        """Work until :meth:`stop`.

        Raises
        ------
        Refused
            The token is not good for this.
        ConfigError
            The server has other models than this worker.
        """
        slots = [
            threading.Thread(target=self._slot, name=f"slot {i}", daemon=True)
            for i in range(self._settings.jobs)
        ]
        for slot in slots:
            slot.start()
        while not (self._is_told_to_stop or self._stop.is_set()):
            time.sleep(_LOOK_S)
        self._stop.set()
        for slot in slots:
            # One that waits for a run has nothing to give back, and is not waited for.
            slot.join(timeout=2.0)
        self._executor.close()
        self._http.close()
        if self._refused is not None:
            raise self._refused

    def _slot(self) -> None:
        pause_s = _BACKOFF_S[0]
        while not self._stop.is_set():
            try:
                found = self._leased()
                pause_s = _BACKOFF_S[0]
                if found is not None:
                    self._serve(found)
            except (Refused, ConfigError) as error:
                self._refused = error
                self._stop.set()
            except Exception as error:
                # Whatever it is (the server may be away, or answer nonsense), it may be better
                # later; what was leased expires there.
                _log.warning("%s: %s; again in %.0f s", type(error).__name__, error, pause_s)
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, _BACKOFF_S[1])

    def _leased(self) -> dict[str, Any] | None:
        body = {"name": self._name, "cores": self._cores, "wait_s": _WAIT_S}
        answer = self._post("lease", body)
        if answer.status_code == 204:
            return None
        found = answer.json()
        if not isinstance(found, dict):
            raise ValueError("the server's answer is no lease")
        return found

    def _serve(self, found: dict[str, Any]) -> None:
        """One run, from its lease to its end; a heartbeat goes on meanwhile."""
        held = {"run_key": str(found["run_key"]), "lease": str(found["lease"])}
        if self._stop.is_set():
            self._post("return", held)
            return
        job = job_from_json(found["job"])
        if run_key(job) != held["run_key"]:
            self._post("return", held)
            raise ConfigError("the server has other models than this worker: update mmcoord here")
        _log.info("run %s", held["run_key"][:12])
        future = self._executor.submit(job)
        if not self._kept(future, held, float(found["lease_s"])):
            return
        try:
            result = future.result()
        except ExecutorAway:
            self._post("return", held)
        except Exception as error:
            # Whatever the job did, it is told there and the next one is taken.
            reason = f"{type(error).__name__}: {error}"[:2000]
            _log.warning("run %s: %s", held["run_key"][:12], reason)
            self._post("failed", {**held, "reason": reason})
        else:
            self._bring(held, result)

    def _kept(self, future: Future[Result], held: dict[str, str], lease_s: float) -> bool:
        """Wait for the run, renewing its lease; False when it was given back."""
        beaten = time.monotonic()
        while not future.done():
            if self._stop.wait(_LOOK_S):
                self._post("return", held)
                return False
            if time.monotonic() - beaten >= lease_s / _BEATS:
                beaten = time.monotonic()
                try:
                    if not self._post("renew", held).json().get("held"):
                        # The result may still be the first one there.
                        _log.warning("run %s: the lease was taken over", held["run_key"][:12])
                except (httpx.HTTPError, OSError) as error:
                    _log.warning("the lease was not renewed: %s", error)
        return True

    def _bring(self, held: dict[str, str], result: Result) -> None:
        """Upload a result, trying as long as the server is away."""
        body = {**result_to_json(result), **held, "cpu_s": result.summary.get("cpu_s", 0.0)}
        pause_s = _BACKOFF_S[0]
        while True:
            try:
                self._post("result", body)
                return
            except (httpx.HTTPError, OSError) as error:
                _log.warning("the result is kept: %s; again in %.0f s", error, pause_s)
                if self._stop.wait(pause_s):
                    return
                pause_s = min(2 * pause_s, _BACKOFF_S[1])

    def _post(self, what: str, body: Mapping[str, Any]) -> httpx.Response:
        answer = self._http.post(f"{_API}/{what}", json=body)
        if answer.status_code in (401, 403):
            raise Refused(f"the server does not take this token: {_detail(answer)}")
        if answer.status_code in (409, 413, 422):
            # This run is nothing to us any more; the next one is.
            _log.warning("%s: %s", what, _detail(answer))
            return answer
        answer.raise_for_status()
        if len(answer.content) > _MAX_JOB_BYTES:
            raise ValueError("the server's answer is too long")
        return answer


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])[:300]
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
