"""Uploaded models are checked one after the other, in a process apart, in their sandbox.

Nothing here is state: what is "checking" in the store is checked again after a crash.
"""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool

from sqlalchemy import update
from sqlmodel import col

from mmcoord import usermodels
from mmcoord.errors import BadModel, NoSandbox
from mmcoord.inference.conformance import Check, Report, examine
from mmcoord.inference.source import UserSource
from mmcoord.inference.usermodel import read_source
from mmcoord.posteriors.workshop import limited, one_process
from mmcoord.stages.context import Context
from mmcoord.store.tables import RunRequestRow

__all__ = ["RECOVERY_S", "ModelChecks", "charge_key", "examined"]

_log = logging.getLogger(__name__)
RECOVERY_S = 120.0
"""About how long fits to simulated light may take, as for ``mmcoord model add``."""
_LONGEST_S = 900
"""A check that takes longer is ended, and the model refused."""

Examined = tuple[Report, float]
"""The verdict, and the processor time that it took, seconds."""


def charge_key(name: str, version: int) -> str:
    """What stands for the check of a model in the ledger of quotas."""
    return f"model {name}@{version}"


class ModelChecks:
    """Checks what waits; call :meth:`run` now and again."""

    def __init__(
        self, start: Callable[[], Executor] = one_process, *, recovery_s: float = RECOVERY_S
    ) -> None:
        self._start = start
        self._recovery_s = recovery_s
        self._executor: Executor | None = None
        self._under_way: tuple[str, int, str, Future[Examined]] | None = None

    def run(self, ctx: Context) -> int:
        """Write down a verdict that is there, begin the next check; returns how much moved."""
        return self._collect(ctx) + self._begin(ctx)

    def close(self) -> None:
        """Abandon what is under way; it is checked again at the next start."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)

    def _begin(self, ctx: Context) -> int:
        if self._under_way is not None:
            return 0
        with ctx.database.read() as session:
            row = usermodels.oldest_unchecked(session)
        if row is None:
            self.close()  # the process need not wait for the next upload
            return 0
        if self._executor is None:
            self._executor = self._start()
        future = self._executor.submit(
            limited, _LONGEST_S, examined, row.name, row.source, self._recovery_s
        )
        self._under_way = (row.name, row.version, row.source, future)
        return 1

    def _collect(self, ctx: Context) -> int:
        if self._under_way is None or not self._under_way[-1].done():
            return 0
        name, version, source, future = self._under_way
        try:
            report, cpu_s = future.result()
        except Exception as error:
            # Also a check that was ended: it must not be tried for ever.
            _log.warning("check of model %s@%d: %s", name, version, error)
            report, cpu_s = _refused(name, source, error), 0.0
            if isinstance(error, BrokenProcessPool):
                self.close()
        with ctx.database.write() as session:
            usermodels.conclude(session, name, version, report)
            session.execute(
                update(RunRequestRow)
                .where(
                    col(RunRequestRow.run_key) == charge_key(name, version),
                    col(RunRequestRow.charged_cpu_s).is_(None),
                )
                .values(charged_cpu_s=cpu_s)
            )
        self._under_way = None
        return 1


def examined(name: str, source: str, recovery_s: float) -> Examined:
    """Every check of a model, in its sandbox."""
    begun = _cpu_s()
    model = read_source(source, name=name, where=f"model {name}")
    report = examine(model, budget_s=recovery_s)
    return report, round(_cpu_s() - begun, 3)


def _cpu_s() -> float:
    """Of this process and of the confined ones that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _refused(name: str, source: str, error: Exception) -> Report:
    if isinstance(error, BrokenProcessPool):
        words = f"the check took longer than {_LONGEST_S} s or too much memory, and was ended"
    elif isinstance(error, BadModel | NoSandbox):
        words = str(error)
    else:
        words = f"the check itself failed: {type(error).__name__}: {error}"
    sha256 = UserSource(name, 0, source).sha256
    return Report(name, sha256, False, None, None, (Check("check", False, words),))
