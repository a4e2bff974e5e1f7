"""Following runs: one reader of the store for all who watch any of them.

A hundred groups may wait for one run, on the machine that computes it. The store is asked for the
states of all watched runs in one question, ten times a second while anybody watches, and a
watcher is woken when the state of its run has changed. Who may see a run is not decided here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from dataclasses import dataclass, field

__all__ = ["ReadStates", "RunWatch"]

_log = logging.getLogger(__name__)

ReadStates = Callable[[Collection[str]], Mapping[str, str]]
"""Run keys -> the state of each that there is."""

_MISSED_S = 2.0
"""Until the store is asked again after it could not say."""


@dataclass(eq=False, slots=True)
class _Watched:
    state: str
    n_watchers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class RunWatch:
    """The states of the runs that somebody watches. For one event loop."""

    def __init__(
        self, read_states: ReadStates, *, most: int = 500, interval_s: float = 0.1
    ) -> None:
        self._read_states = read_states
        self._most = most
        self._interval_s = interval_s
        self._watched: dict[str, _Watched] = {}
        self._looking: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        """Whether one more watcher is too many."""
        return sum(run.n_watchers for run in self._watched.values()) >= self._most

    async def states(self, run_key: str, now: str, silence_s: float) -> AsyncGenerator[str | None]:
        """The state ``now`` (or a newer one that is known already) and each that follows; None
        where it is the same for ``silence_s``.

        Never ends: whoever watches knows which state is the last.
        """
        run = self._watched.setdefault(run_key, _Watched(now))
        run.n_watchers += 1
        told = None
        try:
            while True:
                if run.state != told:
                    told = run.state
                    yield told
                    continue
                if self._looking is None or self._looking.done():
                    self._looking = asyncio.create_task(self._look())
                try:
                    await asyncio.wait_for(run.changed.wait(), silence_s)
                except TimeoutError:
                    yield None
        finally:
            run.n_watchers -= 1
            if run.n_watchers == 0:
                del self._watched[run_key]

    async def _look(self) -> None:
        while self._watched:
            try:
                states = await asyncio.to_thread(self._read_states, tuple(self._watched))
            except Exception as error:  # nobody who watches would be told that nobody looks
                _log.warning("watched runs: the store cannot say how they stand: %s", error)
                await asyncio.sleep(_MISSED_S)
                continue
            for key, state in states.items():
                run = self._watched.get(key)
                if run is not None and run.state != state:
                    run.state = state
                    run.changed.set()
                    run.changed = asyncio.Event()
            await asyncio.sleep(self._interval_s)
