"""Run a model from others where it can harm nothing.

One confined process per model (see :mod:`mmcoord.inference.confinement`), started at the first
call and kept, so that a fit of many thousand evaluations is possible. Calls and answers are
frames of JSON and raw float64 over pipes; every answer is checked. What goes wrong is told as
:class:`~mmcoord.errors.BadModel` with the model's line where there is one, the process is ended,
and the next call starts a fresh one.

Where the probe cannot see all walls standing, :class:`~mmcoord.errors.NoSandbox` is raised and
nothing is run: there is no bare mode.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mmcoord.errors import BadModel
from mmcoord.inference import sandbox_worker
from mmcoord.inference.confinement import (
    bwrap_arguments,
    import_paths,
    interpreter,
    seccomp_program,
)
from mmcoord.inference.exchange import Exchange, Fault, Limits
from mmcoord.inference.models.base import Array
from mmcoord.inference.usermodel import UserModel

__all__ = ["Limits", "Sandbox", "spent_cpu_s"]


class Sandbox:
    """A model's function, callable like our own.

    Use it as a context manager, from one thread. The process ends with the thread that started
    it (``--die-with-parent`` follows the thread).
    """

    def __init__(
        self, model: UserModel, limits: Limits | None = None, *, is_probe: bool = False
    ) -> None:
        self.model = model
        self.limits = limits or Limits()
        self.n_curves = 0
        """Light curves evaluated so far."""
        self._process: subprocess.Popen[bytes] | None = None
        self._is_probe = is_probe
        self._count = 0

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __call__(
        self,
        theta: Array,
        t_day: Array,
        wavelength_angstrom: Array,
        *,
        n_curves: float | None = None,
    ) -> Array:
        """Call the model's function.

        Parameters
        ----------
        theta : (n, n_parameters)
        t_day, wavelength_angstrom : (n, m)
        n_curves : float, optional
            For how many light curves it gets time; default: n.

        Returns
        -------
        (n, m), as the model gave it; not checked for being finite.

        Raises
        ------
        BadModel
            It raised, hung, died, or answered something else; the reason is in the message.
        NoSandbox
            Code cannot be confined on this machine.
        """
        body = b"".join(
            np.ascontiguousarray(a, dtype="<f8").tobytes()
            for a in (theta, t_day, wavelength_angstrom)
        )
        shapes = [list(np.shape(a)) for a in (theta, t_day, wavelength_angstrom)]
        n, m = t_day.shape
        with self._ending_on_error():
            self._start()
            worth = n if n_curves is None else n_curves
            allowed_s = self.limits.call_s + worth * self.limits.curve_s
            answer = self._ask({"op": "call", "shapes": shapes}, body, 8 * n * m, allowed_s)
        self.n_curves += n
        return np.frombuffer(answer, dtype="<f8").reshape(n, m).copy()

    def start(self) -> None:
        """Execute the file now rather than at the first call; raises as a call does."""
        with self._ending_on_error():
            self._start()

    def close(self) -> None:
        """End the process and everything that it may have started."""
        process, self._process = self._process, None
        if process is None:
            return
        _Spent.cpu_s += _below(process.pid)
        process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        process.wait()

    # -- inside ------------------------------------------------------------------------

    @contextlib.contextmanager
    def _ending_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        if self._process is not None:
            return
        if not self._is_probe:
            from mmcoord.inference.probe import probe  # which uses this class

            probe()
        self._process = _spawn(self.limits)
        header = {
            "op": "load",
            "function": self.model.function,
            "names": [p.name for p in self.model.parameters],
            "vectorised": self.model.vectorised,
        }
        self._ask(header, self.model.source.source.encode(), 0, self.limits.start_s)

    def _ask(self, header: dict[str, Any], body: bytes, n_answer: int, allowed_s: float) -> bytes:
        assert self._process is not None
        self._count += 1
        request = sandbox_worker.pack({**header, "id": self._count}, body)
        received = Exchange(self._process, request, n_answer, self.limits)
        try:
            answer, out = received.run(allowed_s)
        except Fault as fault:
            raise self._bad(str(fault)) from None
        if answer.get("id") != self._count:
            raise self._bad("its answers do not follow the protocol")
        if "error" in answer:
            raise self._bad(_explained(answer, self.limits), answer.get("line"))
        if len(out) != n_answer:
            raise self._bad(f"answered {len(out)} bytes, wanted {n_answer}")
        return out

    def _bad(self, reason: str, line: object = None) -> BadModel:
        known = isinstance(line, int) and 0 < line < 10**6
        where = f"model {self.model.name}" + (f" line {line}" if known else "")
        return BadModel(_printable(reason), where=where)


class _Spent:
    """Processor time of models whose sandbox was ended here."""

    cpu_s = 0.0


def spent_cpu_s() -> float:
    """Processor time of the models that this process has ended, s. It is in no ``os.times``:
    bubblewrap is killed before it has waited for what it had started."""
    return _Spent.cpu_s


def _below(pid: int) -> float:
    """Processor time of the living descendants of a process, s; 0 where /proc does not tell."""
    total = 0.0
    try:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")
            total += _below(int(child))
    except OSError:
        pass  # it has ended by itself, and its parent has waited for it
    return total


def _printable(text: str) -> str:
    """Without what a terminal would obey or a database would refuse: a model wrote parts of it."""
    one_line = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in one_line)


def _explained(answer: dict[str, Any], limits: Limits) -> str:
    """The model's exception, with what it means here."""
    hints = {
        "MemoryError": f"it may use {limits.memory_mib} MiB",
        "PermissionError": "a model has no network and no other processes",
        "FileNotFoundError": "a model sees no files but installed packages",
        "ModuleNotFoundError": "only packages installed beside mmcoord can be imported",
    }
    text = str(answer["error"])[:500]
    kind = str(answer.get("kind"))
    if "Read-only file system" in text:
        return f"raised {text} (a model can write to /tmp alone)"
    return f"raised {text}" + (f" ({hints[kind]})" if kind in hints else "")


def _spawn(limits: Limits) -> subprocess.Popen[bytes]:
    program = seccomp_program()
    descriptor = os.memfd_create("seccomp")
    try:
        os.write(descriptor, program)
        os.lseek(descriptor, 0, os.SEEK_SET)
        command = [
            *bwrap_arguments(descriptor),
            interpreter(), "-I", "-S", "-B", "-c", _worker_source(),
            json.dumps(limits.rlimits()), *import_paths(),
        ]  # fmt: skip
        process = subprocess.Popen(  # noqa: S603 - a list, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={},
            cwd="/",
            pass_fds=(descriptor,),
        )
    finally:
        os.close(descriptor)
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
    return process


@functools.cache
def _worker_source() -> str:
    return Path(sandbox_worker.__file__).read_text(encoding="utf-8")
