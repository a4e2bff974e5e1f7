"""A client for groups: ask for inferences, wait for them, read what is public.

    from mmcoord.client import Client

    with Client("https://mmcoord.example.org", token=os.environ["MMCOORD_TOKEN"]) as house:
        run = house.submit_pair("S230518h", "312345678901234567")
        print(house.wait(run.run_key).summary["p_kilonova"])

``AsyncClient`` has the same methods to be awaited. Nothing here needs the daemon's
dependencies beyond httpx.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import httpx

from mmcoord.errors import MmcoordError, OverQuota, Refused, UnknownRecord

__all__ = ["AsyncClient", "Client", "Run", "Submitted"]

_API = "/api/v1"
_ENDED = frozenset({"done", "failed", "superseded"})
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a request; see ``mmcoord.runs.Submitted``."""

    run_key: str
    state: str
    how: str


@dataclass(frozen=True, slots=True)
class Run:
    """One inference as the service shows it."""

    run_key: str
    state: str
    """queued, running, done, failed, superseded."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """Empty until done; shape in docs/inference.md."""
    light_curve: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def has_ended(self) -> bool:
        return self.state in _ENDED


class _Calls:
    """Requests and the reading of answers; no network."""

    @staticmethod
    def pair(event_id: str, object_id: str, models: Iterable[str], seed: int) -> dict[str, Any]:
        return {
            "event_id": event_id,
            "object_id": object_id,
            "models": list(models),
            "seed": seed,
        }

    @staticmethod
    def photometry(
        points: Iterable[Mapping[str, Any]],
        t0: str,
        distance_mpc: tuple[float, float] | None,
        redshift: float | None,
        models: Iterable[str],
        seed: int,
        private: bool,
    ) -> dict[str, Any]:
        mean_std = dict(zip(("mean_mpc", "std_mpc"), distance_mpc or (), strict=False))
        return {
            "photometry": [dict(point) for point in points],
            "t0": t0,
            "distance": mean_std or None,
            "redshift": redshift,
            "models": list(models),
            "seed": seed,
            "private": private,
        }

    @staticmethod
    def answer(response: httpx.Response) -> Any:
        """The JSON of a good answer.

        Raises
        ------
        UnknownRecord, OverQuota, Refused, MmcoordError
            With the service's own words.
        """
        if response.is_success:
            return response.json()
        try:
            detail = str(response.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = f"{response.status_code} {response.reason_phrase}"
        kind = {404: UnknownRecord, 429: OverQuota, 401: Refused, 403: Refused}.get(
            response.status_code, MmcoordError
        )
        raise kind(detail)

    @staticmethod
    def run(document: Mapping[str, Any]) -> Run:
        return Run(**{name: document[name] for name in Run.__dataclass_fields__})

    @staticmethod
    def submitted(document: Mapping[str, Any]) -> Submitted:
        return Submitted(document["run_key"], document["state"], document["how"])


def _settings(url: str, token: str | None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return {"base_url": url.rstrip("/") + _API, "headers": headers, "timeout": _TIMEOUT_S}


class Client:
    """The service, asked one thing at a time.

    Parameters
    ----------
    url
        Address of the page.
    token
        From ``mmcoord token create``; without one only what is public can be read.
    transport
        For tests: anything that httpx takes.
    """

    def __init__(
        self, url: str, token: str | None = None, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = httpx.Client(**_settings(url, token), transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def events(self, limit: int = 100) -> list[dict[str, Any]]:
        """Events, the one heard of last first."""
        found = _Calls.answer(self._http.get("/events", params={"limit": limit}))
        return list(found["items"])

    def plan(self, event_id: str) -> dict[str, Any]:
        """The newest plan of an event, its rows ranked."""
        return dict(_Calls.answer(self._http.get(f"/events/{event_id}/plan")))

    def submit_pair(
        self, event_id: str, object_id: str, *, models: Iterable[str] = ("all",), seed: int = 1
    ) -> Submitted:
        """Ask about a candidate of an event: the run that everybody shares.

        Raises
        ------
        UnknownRecord
            The candidate is not matched to that event.
        OverQuota, Refused
            Nothing is left of the quota; the token is not good for this.
        """
        body = _Calls.pair(event_id, object_id, models, seed)
        return _Calls.submitted(_Calls.answer(self._http.post("/runs", json=body)))

    def submit_photometry(
        self,
        points: Iterable[Mapping[str, Any]],
        t0: str,
        *,
        distance_mpc: tuple[float, float] | None = None,
        redshift: float | None = None,
        models: Iterable[str] = ("all",),
        seed: int = 1,
        private: bool = True,
    ) -> Submitted:
        """Ask about photometry of your own: ``{mjd, band, mag, mag_err}`` (UTC, AB; no error
        for a limit), event time ``t0`` in ISO 8601 UTC, distance as (mean, error).
        """
        body = _Calls.photometry(points, t0, distance_mpc, redshift, models, seed, private)
        return _Calls.submitted(_Calls.answer(self._http.post("/runs", json=body)))

    def run(self, run_key: str) -> Run:
        """A run as it stands."""
        return _Calls.run(_Calls.answer(self._http.get(f"/runs/{run_key}")))

    def wait(self, run_key: str, timeout_s: float = 600.0) -> Run:
        """The run when it has ended, whatever its end.

        Raises
        ------
        TimeoutError
            It has not ended in time; it goes on.
        """
        deadline, pause = time.monotonic() + timeout_s, _FIRST_WAIT_S
        while not (found := self.run(run_key)).has_ended:
            if time.monotonic() + pause > deadline:
                raise TimeoutError(f"run {run_key} is {found.state} after {timeout_s:g} s")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_WAIT_S)
        return found

    def samples(self, run_key: str) -> bytes:
        """Posterior draws as ``npz`` bytes (``numpy.load(io.BytesIO(...))``)."""
        response = self._http.get(f"/runs/{run_key}/samples.npz")
        if not response.is_success:
            _Calls.answer(response)
        return response.content

    def usage(self) -> dict[str, Any]:
        """Quota and use of your group, CPU seconds."""
        return dict(_Calls.answer(self._http.get("/usage")))


class AsyncClient:
    """:class:`Client` for asyncio; the same methods, awaited."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(**_settings(url, token), transport=transport)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def events(self, limit: int = 100) -> list[dict[str, Any]]:
        """See :meth:`Client.events`."""
        found = _Calls.answer(await self._http.get("/events", params={"limit": limit}))
        return list(found["items"])

    async def plan(self, event_id: str) -> dict[str, Any]:
        """See :meth:`Client.plan`."""
        return dict(_Calls.answer(await self._http.get(f"/events/{event_id}/plan")))

    async def submit_pair(
        self, event_id: str, object_id: str, *, models: Iterable[str] = ("all",), seed: int = 1
    ) -> Submitted:
        """See :meth:`Client.submit_pair`."""
        body = _Calls.pair(event_id, object_id, models, seed)
        return _Calls.submitted(_Calls.answer(await self._http.post("/runs", json=body)))

    async def submit_photometry(
        self,
        points: Iterable[Mapping[str, Any]],
        t0: str,
        *,
        distance_mpc: tuple[float, float] | None = None,
        redshift: float | None = None,
        models: Iterable[str] = ("all",),
        seed: int = 1,
        private: bool = True,
    ) -> Submitted:
        """See :meth:`Client.submit_photometry`."""
        body = _Calls.photometry(points, t0, distance_mpc, redshift, models, seed, private)
        return _Calls.submitted(_Calls.answer(await self._http.post("/runs", json=body)))

    async def run(self, run_key: str) -> Run:
        """See :meth:`Client.run`."""
        return _Calls.run(_Calls.answer(await self._http.get(f"/runs/{run_key}")))

    async def wait(self, run_key: str, timeout_s: float = 600.0) -> Run:
        """See :meth:`Client.wait`."""
        deadline, pause = time.monotonic() + timeout_s, _FIRST_WAIT_S
        while not (found := await self.run(run_key)).has_ended:
            if time.monotonic() + pause > deadline:
                raise TimeoutError(f"run {run_key} is {found.state} after {timeout_s:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_WAIT_S)
        return found

    async def samples(self, run_key: str) -> bytes:
        """See :meth:`Client.samples`."""
        response = await self._http.get(f"/runs/{run_key}/samples.npz")
        if not response.is_success:
            _Calls.answer(response)
        return response.content

    async def usage(self) -> dict[str, Any]:
        """See :meth:`Client.usage`."""
        return dict(_Calls.answer(await self._http.get("/usage")))
