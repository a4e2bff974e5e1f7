"""The stages in the data's order, as one thing that can be stepped or drained."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import func, select
from sqlmodel import col

from mmcoord.stages import bursts, claims, coincide, deliver, intake, plan
from mmcoord.stages.context import Context
from mmcoord.stages.executor import Executor
from mmcoord.stages.infer import InferStage
from mmcoord.stages.match import MatchStage
from mmcoord.store import queue
from mmcoord.store.tables import DeliveryRow

__all__ = ["Pipeline"]

_POLL_S = 0.05
_PLAN_REST = 3.0
"""While data come in, plans get a quarter of the time: a rest of three times what the last took."""
_LONGEST_REST_S = 10.0


class Pipeline:
    """Runs the stages. The caller holds ``Database.pipeline_lock``.

    With ``alerts_apart`` the caller reads the alerts' inbox, assesses bursts and compares events
    itself, on another thread. ``clock`` counts seconds.
    """

    def __init__(
        self,
        ctx: Context,
        executor: Executor,
        *,
        alerts_apart: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ctx = ctx
        self._lane = intake.Lane.BULK if alerts_apart else intake.Lane.ALL
        self._match = MatchStage()
        self._infer = InferStage(executor)
        self._clock = clock
        self._plans_again_at = 0.0

    def recover(self) -> None:
        """Take up the runs that a crash left half done; deliveries recover apart."""
        self._infer.recover(self.ctx)

    def step(self) -> int:
        """One batch of every stage, so that none starves another; returns what moved.

        Delivery is apart (:func:`mmcoord.stages.deliver.run`): a slow service outside must
        not hold up the stages inside.
        """
        ctx = self.ctx
        moved = intake.run(ctx, self._lane)
        if self._lane is intake.Lane.ALL:
            moved += bursts.run(ctx) + coincide.run(ctx)
        moved += self._match.run(ctx) + self._infer.run(ctx)
        return moved + claims.run(ctx) + self._plan(is_busy=moved > 0)

    def _plan(self, *, is_busy: bool) -> int:
        """Plans, one at a time and with rests while there is other work.

        A plan of an event costs the same however many wishes for it have come, so a rest loses
        nothing; without it the plans of a few active events leave no time for what comes in.
        What follows an alert, a claim or a finished inference does not wait.
        """
        if not is_busy:
            return plan.run(self.ctx)
        begun = self._clock()
        if begun < self._plans_again_at:
            return plan.run(self.ctx, at_most=1, urgent_only=True)
        moved = plan.run(self.ctx, at_most=1)
        now = self._clock()
        self._plans_again_at = now + min(_PLAN_REST * (now - begun), _LONGEST_REST_S)
        return moved

    def drain(self, timeout_s: float = float("inf")) -> bool:
        """Run until nothing is left to do; False when ``timeout_s`` ran out first.

        The stage nearest the source goes first: later stages then see all the data at once,
        and one data set gives one run. A delivery that waits for its next attempt longer
        than a few seconds is left pending.
        """
        ctx = self.ctx
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            moved = (
                intake.run(ctx)
                or bursts.run(ctx)
                or coincide.run(ctx)
                or self._match.run(ctx)
                or self._infer.run(ctx)
                or claims.run(ctx)
                or plan.run(ctx)
                or deliver.run(ctx)
            )
            if moved:
                continue
            if self._idle():
                return True
            time.sleep(_POLL_S)
        return False

    def close(self) -> None:
        """Stop; what was running is recovered at the next start."""
        self._infer.close()

    def _idle(self) -> bool:
        if self._infer.busy:
            return False
        with self.ctx.database.read() as session:
            # What is behind a link comes when it comes; the daemon waits for it, nobody else.
            if any(queue.pending(session, s) for s in queue.STAGES if s != queue.FETCH):
                return False
            retry = session.execute(
                select(func.min(col(DeliveryRow.next_attempt_at))).where(
                    col(DeliveryRow.state).in_(("pending", "unknown"))
                )
            ).scalar_one()
        return retry is None or (retry - self.ctx.now()).total_seconds() > 5.0
