"""The client for asyncio: as the blocking one, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, TypeVar

import httpx

from mmcoord.client import calls
from mmcoord.client.answers import Model, Prediction, Run, Submitted
from mmcoord.client.calls import Call, Draws

__all__ = ["AsyncClient"]

Answer = TypeVar("Answer")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
_SILENCE_S = 40.0
"""The service says something every 15 s while a run is followed."""


class AsyncClient:
    """:class:`~mmcoord.client.Client` for asyncio; the same methods, awaited."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(**calls.settings(url, token), transport=transport)

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
        return await self._do(calls.events(limit))

    async def plan(self, event_id: str) -> dict[str, Any]:
        """See :meth:`Client.plan`."""
        return await self._do(calls.plan(event_id))

    async def submit_pair(
        self, event_id: str, object_id: str, *, models: Iterable[str] = ("all",), seed: int = 1
    ) -> Submitted:
        """See :meth:`Client.submit_pair`."""
        return await self._do(calls.submit_pair(event_id, object_id, models, seed))

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
        return await self._do(
            calls.submit_photometry(points, t0, distance_mpc, redshift, models, seed, private)
        )

    async def run(self, run_key: str) -> Run:
        """See :meth:`Client.run`."""
        return await self._do(calls.run(run_key))

    async def samples(self, run_key: str) -> Draws:
        """See :meth:`Client.samples`."""
        return await self._do(calls.samples(run_key))

    async def predict(
        self,
        run_key: str,
        bands: Iterable[str],
        *,
        start: str | None = None,
        stop: str | None = None,
        step_day: float = 0.5,
    ) -> Prediction:
        """See :meth:`Client.predict`."""
        return await self._do(calls.predict(run_key, bands, start, stop, step_day))

    async def picture(
        self,
        run_key: str,
        what: Literal["corner", "light-curve"],
        fmt: Literal["png", "svg"] = "png",
        *,
        parameters: Iterable[str] = (),
    ) -> bytes:
        """See :meth:`Client.picture`."""
        return await self._do(calls.picture(run_key, what, fmt, parameters))

    async def upload_model(self, source: str, name: str | None = None) -> Model:
        """See :meth:`Client.upload_model`."""
        return await self._do(calls.upload_model(source, name))

    async def models(self) -> list[Model]:
        """See :meth:`Client.models`."""
        return await self._do(calls.models())

    async def model(self, name: str) -> Model:
        """See :meth:`Client.model`."""
        return await self._do(calls.model(name))

    async def retire_model(self, name: str) -> list[int]:
        """See :meth:`Client.retire_model`."""
        return await self._do(calls.retire_model(name))

    async def usage(self) -> dict[str, Any]:
        """See :meth:`Client.usage`."""
        return await self._do(calls.usage())

    async def wait(self, run_key: str, timeout_s: float = 600.0) -> Run:
        """See :meth:`Client.wait`."""
        deadline, pause = time.monotonic() + timeout_s, _FIRST_WAIT_S
        await self._follow(run_key, deadline)
        while not (found := await self.run(run_key)).has_ended:
            if time.monotonic() + pause > deadline:
                raise TimeoutError(f"run {run_key} is {found.state} after {timeout_s:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_WAIT_S)
        return found

    async def wait_for_model(self, name: str, timeout_s: float = 900.0) -> Model:
        """See :meth:`Client.wait_for_model`."""
        deadline = time.monotonic() + timeout_s
        while not (found := await self.model(name)).is_checked:
            if time.monotonic() + _LONGEST_WAIT_S > deadline:
                raise TimeoutError(f"model {name} is being checked after {timeout_s:g} s")
            await asyncio.sleep(_LONGEST_WAIT_S)
        return found

    async def _do(self, call: Call[Answer]) -> Answer:
        return call.answer(await self._http.request(**call.arguments()))

    async def _follow(self, run_key: str, deadline: float) -> None:
        """Until the stream says that the run has ended, or says nothing more."""
        silence_s = min(_SILENCE_S, max(deadline - time.monotonic(), 0.01))
        try:
            async with self._http.stream(
                "GET", f"/runs/{run_key}/events", timeout=silence_s
            ) as response:
                if not response.is_success:
                    return
                async for line in response.aiter_lines():
                    if calls.ended_state(line) or time.monotonic() > deadline:
                        return
        except (httpx.HTTPError, ValueError):
            return  # asking again and again is slower, and goes through everything
