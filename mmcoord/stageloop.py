"""The loop of one stage's thread: step after step, and between them a wait for the bell."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from mmcoord.stages.context import Context
from mmcoord.store import queue

__all__ = ["StageLoop", "until_due"]

_FULL_STEP = 500
"""A step that moved less than this had nearly nothing to do: more is gathered before the next."""
_SHORTEST_S = 0.1
"""Between two looks for what is due: what is overdue may be another stage's."""


@dataclass(frozen=True, slots=True)
class StageLoop:
    """What the thread of a stage does: recover, then step after step."""

    wake: Callable[[], None]
    """Rings the bells of all: what one stage has done is work for the next."""
    recover: Callable[[], None]
    """Also after a fault that ended the thread: what it had in hand is taken up again."""
    step: Callable[[], int]
    idle_s: Callable[[], float]
    """How long to wait at most when there was nothing to do."""
    bell: threading.Event = field(default_factory=threading.Event)
    """Rung when something was received or done; a stage without work waits for it."""
    gather_s: float = 0.0
    """Pause after a small step: a step has fixed costs, and candidates can wait so long."""

    def run(self, stop: threading.Event) -> None:
        """Until told to stop."""
        self.recover()
        while not stop.is_set():
            self.bell.clear()  # before the step: what rings during it is looked at in the next
            moved = self.step()
            if not moved:
                self.bell.wait(self.idle_s())
                continue
            self.wake()
            if moved < _FULL_STEP and self.gather_s:
                stop.wait(self.gather_s)


def until_due(ctx: Context, at_most_s: float) -> float:
    """Seconds until a wish that waits for more of its kind is due, and ``at_most_s`` at most."""
    with ctx.database.read() as session:
        due = queue.next_due(session)
    if due is None:
        return at_most_s
    return min(max((due - ctx.now()).total_seconds(), _SHORTEST_S), at_most_s)
