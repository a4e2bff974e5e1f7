"""Every request of the client as data, and the reading of its answer; no network.

The blocking and the asynchronous client only differ in how they send a :class:`Call`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import httpx

from mmcoord.client.answers import Model, Prediction, Run, Submitted
from mmcoord.errors import (
    Busy,
    MmcoordError,
    NameTaken,
    OverQuota,
    Refused,
    UnknownRecord,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Call", "Draws", "ended_state", "settings"]

Answer = TypeVar("Answer")
Draws = dict[str, "npt.NDArray[np.float64]"]
_API = "/api/v1"
_TIMEOUT_S = 30.0
_SLOW_S = 180.0
"""What the service makes when it is asked: a first picture waits for a process to start."""
_ERRORS: Mapping[int, type[MmcoordError]] = {
    401: Refused,
    403: Refused,
    404: UnknownRecord,
    409: MmcoordError,
    429: OverQuota,
    503: Busy,
}


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One request, and what its good answer means."""

    method: Literal["GET", "POST"]
    path: str
    read: Callable[[httpx.Response], Answer]
    params: Mapping[str, str | int | float] | None = None
    body: Any = None
    timeout_s: float = _TIMEOUT_S

    def arguments(self) -> dict[str, Any]:
        """For ``httpx.Client.request``."""
        return {
            "method": self.method,
            "url": self.path,
            "params": self.params,
            "json": self.body,
            "timeout": self.timeout_s,
        }

    def answer(self, response: httpx.Response) -> Answer:
        """What was asked for.

        Raises
        ------
        UnknownRecord, OverQuota, Busy, Refused, MmcoordError
            With the service's own words.
        """
        if response.is_success:
            return self.read(response)
        try:
            detail = str(response.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = f"{response.status_code} {response.reason_phrase}"
        kind = _ERRORS.get(response.status_code, MmcoordError)
        if response.status_code == 409 and self.path == "/models":
            kind = NameTaken
        raise kind(detail)


def settings(url: str, token: str | None) -> dict[str, Any]:
    """Arguments of an httpx client."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return {"base_url": url.rstrip("/") + _API, "headers": headers, "timeout": _TIMEOUT_S}


def ended_state(line: str) -> bool:
    """Whether a line of a run's event stream says that the run has ended."""
    if not line.startswith("data: "):
        return False
    return Run("", str(json.loads(line.removeprefix("data: ")).get("state"))).has_ended


def events(limit: int) -> Call[list[dict[str, Any]]]:
    return Call("GET", "/events", lambda r: list(r.json()["items"]), {"limit": limit})


def plan(event_id: str) -> Call[dict[str, Any]]:
    return Call("GET", f"/events/{event_id}/plan", lambda r: dict(r.json()))


def submit_pair(event_id: str, object_id: str, models: Iterable[str], seed: int) -> Call[Submitted]:
    return _submit(
        {"event_id": event_id, "object_id": object_id, "models": list(models), "seed": seed}
    )


def submit_photometry(
    points: Iterable[Mapping[str, Any]],
    t0: str,
    distance_mpc: tuple[float, float] | None,
    redshift: float | None,
    models: Iterable[str],
    seed: int,
    private: bool,
) -> Call[Submitted]:
    mean_std = dict(zip(("mean_mpc", "std_mpc"), distance_mpc or (), strict=False))
    return _submit(
        {
            "photometry": [dict(point) for point in points],
            "t0": t0,
            "distance": mean_std or None,
            "redshift": redshift,
            "models": list(models),
            "seed": seed,
            "private": private,
        }
    )


def run(run_key: str) -> Call[Run]:
    return Call("GET", f"/runs/{run_key}", lambda r: _of(Run, r.json()))


def samples(run_key: str) -> Call[Draws]:
    return Call("GET", f"/runs/{run_key}/samples.npz", lambda r: _draws(r.content))


def predict(
    run_key: str, bands: Iterable[str], start: str | None, stop: str | None, step_day: float
) -> Call[Prediction]:
    params: dict[str, str | int | float] = {"bands": ",".join(bands), "step": step_day}
    params |= {name: time for name, time in (("start", start), ("stop", stop)) if time}
    path = f"/runs/{run_key}/magnitudes"
    return Call("GET", path, lambda r: _prediction(r.json()), params, timeout_s=_SLOW_S)


def picture(run_key: str, what: str, fmt: str, parameters: Iterable[str]) -> Call[bytes]:
    names = ",".join(parameters)
    params = {"parameters": names} if names else None
    path = f"/runs/{run_key}/{what}.{fmt}"
    return Call("GET", path, lambda r: r.content, params, timeout_s=_SLOW_S)


def upload_model(source: str, name: str | None) -> Call[Model]:
    body = {"source": source, "name": name}
    return Call("POST", "/models", lambda r: _of(Model, r.json()), body=body)


def models() -> Call[list[Model]]:
    return Call("GET", "/models", lambda r: [_of(Model, one) for one in r.json()["added"]])


def model(name: str) -> Call[Model]:
    return Call("GET", f"/models/{name}", lambda r: _of(Model, r.json()))


def retire_model(name: str) -> Call[list[int]]:
    return Call("POST", f"/models/{name}/retire", lambda r: list(r.json()["versions"]))


def usage() -> Call[dict[str, Any]]:
    return Call("GET", "/usage", lambda r: dict(r.json()))


def _submit(body: dict[str, Any]) -> Call[Submitted]:
    return Call("POST", "/runs", lambda r: _of(Submitted, r.json()), body=body)


def _of(kind: type[Answer], document: Mapping[str, Any]) -> Answer:
    """A dataclass from the keys that it knows: the service may add others."""
    names: Iterable[str] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return kind(**{name: document[name] for name in names if name in document})


def _prediction(document: Mapping[str, Any]) -> Prediction:
    lists = {name: tuple(document[name]) for name in ("bands", "t_day", "mjd_tai")}
    return _of(Prediction, {**document, **lists})


def _draws(content: bytes) -> Draws:
    import numpy as np

    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
