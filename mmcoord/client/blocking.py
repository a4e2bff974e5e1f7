"""The client that waits for each answer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, TypeVar

import httpx

from mmcoord.client import calls
from mmcoord.client.answers import Model, Prediction, Run, Submitted
from mmcoord.client.calls import Call, Draws

__all__ = ["Client"]

Answer = TypeVar("Answer")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
_SILENCE_S = 40.0
"""The service says something every 15 s while a run is followed."""


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
        self._http = httpx.Client(**calls.settings(url, token), transport=transport)

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
        return self._do(calls.events(limit))

    def plan(self, event_id: str) -> dict[str, Any]:
        """The newest plan of an event, its rows ranked."""
        return self._do(calls.plan(event_id))

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
        return self._do(calls.submit_pair(event_id, object_id, models, seed))

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
        return self._do(
            calls.submit_photometry(points, t0, distance_mpc, redshift, models, seed, private)
        )

    def run(self, run_key: str) -> Run:
        """A run as it stands."""
        return self._do(calls.run(run_key))

    def samples(self, run_key: str) -> Draws:
        """Equal-weight posterior draws: parameter name -> array."""
        return self._do(calls.samples(run_key))

    def predict(
        self,
        run_key: str,
        bands: Iterable[str],
        *,
        start: str | None = None,
        stop: str | None = None,
        step_day: float = 0.5,
    ) -> Prediction:
        """Predicted magnitudes, from ``start`` to ``stop`` (ISO 8601 UTC; by default 0.1 to 14 d
        after the event).

        Raises
        ------
        MmcoordError
            The run is not done, or the engine has changed since.
        Busy
            Too much is asked for just now.
        """
        return self._do(calls.predict(run_key, bands, start, stop, step_day))

    def picture(
        self,
        run_key: str,
        what: Literal["corner", "light-curve"],
        fmt: Literal["png", "svg"] = "png",
        *,
        parameters: Iterable[str] = (),
    ) -> bytes:
        """Corner plot (of at most eight ``parameters``) or light curve; raises as ``predict``."""
        return self._do(calls.picture(run_key, what, fmt, parameters))

    def upload_model(self, source: str, name: str | None = None) -> Model:
        """Add a version of a light-curve model (docs/models.md); it is checked afterwards.

        Raises
        ------
        NameTaken
            The name belongs to another group.
        OverQuota, Busy
            Nothing is left to pay for the check, or one is under way; models are not taken there.
        MmcoordError
            It is no model; the message names the line.
        """
        return self._do(calls.upload_model(source, name))

    def models(self) -> list[Model]:
        """Every version of every uploaded model that you may see."""
        return self._do(calls.models())

    def model(self, name: str) -> Model:
        """One version (``name@3``), or the newest, with its report."""
        return self._do(calls.model(name))

    def retire_model(self, name: str) -> list[int]:
        """Keep a version, or all of a name, from new runs; returns which."""
        return self._do(calls.retire_model(name))

    def usage(self) -> dict[str, Any]:
        """Quota and use of your group, CPU seconds."""
        return self._do(calls.usage())

    def wait(self, run_key: str, timeout_s: float = 600.0) -> Run:
        """The run when it has ended, whatever its end.

        Its event stream is followed; where that does not come through, it is asked for again
        and again.

        Raises
        ------
        TimeoutError
            It has not ended in time; it goes on.
        """
        deadline, pause = time.monotonic() + timeout_s, _FIRST_WAIT_S
        self._follow(run_key, deadline)
        while not (found := self.run(run_key)).has_ended:
            if time.monotonic() + pause > deadline:
                raise TimeoutError(f"run {run_key} is {found.state} after {timeout_s:g} s")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_WAIT_S)
        return found

    def wait_for_model(self, name: str, timeout_s: float = 900.0) -> Model:
        """The version when there is a verdict.

        Raises
        ------
        TimeoutError
            There is none in time; the check goes on.
        """
        deadline = time.monotonic() + timeout_s
        while not (found := self.model(name)).is_checked:
            if time.monotonic() + _LONGEST_WAIT_S > deadline:
                raise TimeoutError(f"model {name} is being checked after {timeout_s:g} s")
            time.sleep(_LONGEST_WAIT_S)
        return found

    def _do(self, call: Call[Answer]) -> Answer:
        return call.answer(self._http.request(**call.arguments()))

    def _follow(self, run_key: str, deadline: float) -> None:
        """Until the stream says that the run has ended, or says nothing more."""
        silence_s = min(_SILENCE_S, max(deadline - time.monotonic(), 0.01))
        try:
            with self._http.stream("GET", f"/runs/{run_key}/events", timeout=silence_s) as response:
                if not response.is_success:
                    return
                for line in response.iter_lines():
                    if calls.ended_state(line) or time.monotonic() > deadline:
                        return
        except (httpx.HTTPError, ValueError):
            return  # asking again and again is slower, and goes through everything
