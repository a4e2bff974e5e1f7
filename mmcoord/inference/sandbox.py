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
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mmcoord.errors import BadModel, NoSandbox
from mmcoord.inference import sandbox_worker
from mmcoord.inference.confinement import (
    bwrap_arguments,
    import_paths,
    interpreter,
    seccomp_program,
)
from mmcoord.inference.models.base import Array
from mmcoord.inference.usermodel import UserModel, read_source

__all__ = ["Limits", "Sandbox", "probe"]

_MAX_HEADER = 65536
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model may use; beyond any of them it is stopped."""

    memory_mib: int = 2048
    """Address space of the process (RLIMIT_AS)."""
    cpu_s: int = 6 * 3600
    """Processor time of one process."""
    start_s: float = 30.0
    """From start to the file being executed."""
    call_s: float = 20.0
    """Of a call, plus ..."""
    curve_s: float = 0.5
    """... for each light curve in it."""
    printed_bytes: int = 65536
    """Per call."""
    file_mib: int = 8
    files: int = 64
    processes: int = 32
    """Threads; other processes cannot be started at all."""

    def rlimits(self) -> dict[str, int]:
        """For ``setrlimit``."""
        return {
            "RLIMIT_AS": self.memory_mib * 2**20,
            "RLIMIT_CPU": self.cpu_s,
            "RLIMIT_FSIZE": self.file_mib * 2**20,
            "RLIMIT_NOFILE": self.files,
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_CORE": 0,
            "RLIMIT_MEMLOCK": 0,
        }


class Sandbox:
    """A model's function, callable like our own.

    Use it as a context manager, from one thread. The process ends with the thread that started
    it (``--die-with-parent`` follows the thread).
    """

    def __init__(self, model: UserModel, limits: Limits | None = None) -> None:
        self.model = model
        self.limits = limits or Limits()
        self.n_curves = 0
        """Light curves evaluated so far."""
        self._process: subprocess.Popen[bytes] | None = None
        self._unprobed = False
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
        if not self._unprobed:
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
        received = _Exchange(self._process, request, n_answer, self.limits)
        try:
            answer, out = received.run(allowed_s)
        except _Fault as fault:
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


class _Fault(Exception):
    """What went wrong with the process, in words."""


class _Exchange:
    """One request and its answer, never waiting for the child beyond its time."""

    def __init__(
        self, process: subprocess.Popen[bytes], request: bytes, n_answer: int, limits: Limits
    ) -> None:
        self._process = process
        self._unsent = memoryview(request)
        self._n_answer = n_answer
        self._limits = limits
        self._answer = bytearray()
        self._printed = bytearray()

    def run(self, allowed_s: float) -> tuple[dict[str, Any], bytes]:
        """Header and body of the answer."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        deadline = time.monotonic() + allowed_s
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdin, selectors.EVENT_WRITE, self._send)
            selector.register(process.stdout, selectors.EVENT_READ, self._receive)
            selector.register(process.stderr, selectors.EVENT_READ, self._listen)
            while True:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise _Fault(f"no answer within {allowed_s:g} s: stopped")
                for key, _ in selector.select(left_s):
                    if not key.data(key.fd):
                        selector.unregister(key.fileobj)
                frame = self._frame()
                if frame is not None:
                    return frame

    def _send(self, descriptor: int) -> bool:
        try:
            self._unsent = self._unsent[os.write(descriptor, self._unsent[:_CHUNK]) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False  # its end is told by the answer's pipe
        return bool(self._unsent)

    def _receive(self, descriptor: int) -> bool:
        data = os.read(descriptor, _CHUNK)
        if not data:
            raise _Fault(self._end())
        self._answer += data
        return True

    def _listen(self, descriptor: int) -> bool:
        data = os.read(descriptor, _CHUNK)
        self._printed += data
        if len(self._printed) > self._limits.printed_bytes:
            raise _Fault(f"printed more than {self._limits.printed_bytes} bytes: stopped")
        return bool(data)

    def _frame(self) -> tuple[dict[str, Any], bytes] | None:
        """The answer, once it is complete."""
        lengths = sandbox_worker.LENGTHS
        if len(self._answer) < lengths.size:
            return None
        n_header, n_body = lengths.unpack_from(self._answer)
        if n_header > _MAX_HEADER or n_body > self._n_answer:
            raise _Fault("its answers do not follow the protocol")
        size = lengths.size + n_header + n_body
        if len(self._answer) < size:
            return None
        if len(self._answer) > size:
            raise _Fault("its answers do not follow the protocol")
        try:
            header = json.loads(self._answer[lengths.size : lengths.size + n_header])
        except (ValueError, RecursionError):
            header = None
        if not isinstance(header, dict):
            raise _Fault("its answers do not follow the protocol")
        return header, bytes(self._answer[size - n_body :])

    def _end(self) -> str:
        """How the process ended."""
        assert self._process.stderr is not None
        try:
            code = self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            return "closed its answers' pipe"
        with contextlib.suppress(BlockingIOError):
            self._printed += os.read(self._process.stderr.fileno(), _CHUNK)
        said = self._printed.decode(errors="replace").strip()[-300:]
        number = code - 128 if code > 128 else -code
        try:
            how = f"by {signal.Signals(number).name}"
        except ValueError:
            how = f"with exit code {code}"
        return f"its process ended {how}" + (f": {said}" if said else "")


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


# -- the probe ---------------------------------------------------------------------------

_WALLS = ("files of the system", "our own files", "network", "new processes", "writing")
_PROBE = """
import os, socket
PARAMETERS = {"x": ("uniform", 0, 1, "")}

def _works(what):
    try:
        return 1.0 if what() is not False else 0.0
    except OSError:
        return 0.0

def _fork():
    if os.fork() == 0:
        os._exit(0)
    os.wait()

def _write():
    open("/mmcoord-probe", "w").close()
    os.unlink("/mmcoord-probe")

def absolute_magnitude(p, t_day, wavelength_angstrom):
    return [
        _works(lambda: os.path.lexists("/etc/passwd")),
        _works(lambda: any(os.path.lexists(path) for path in OURS)),
        _works(socket.socket),
        _works(_fork),
        _works(_write),
    ]
"""


@functools.cache
def probe() -> str:
    """Try every wall from inside, once per process; returns what confines models here.

    Raises
    ------
    NoSandbox
        bubblewrap is absent or does not work here, or a wall has a hole. It is tried again at
        the next call.
    """
    with tempfile.NamedTemporaryFile() as witness:
        ours = repr([witness.name, *_at_home()])
        source = _PROBE.replace("OURS", ours)
        sandbox = Sandbox(read_source(source, name="probe"), Limits(call_s=10.0))
        sandbox._unprobed = True
        places = np.zeros((1, len(_WALLS)))
        try:
            with sandbox:
                open_walls = sandbox(np.zeros((1, 1)), places, places)[0]
        except BadModel as error:
            raise NoSandbox(f"models from others are not run here: {error}") from None
    holes = [wall for wall, hole in zip(_WALLS, open_walls, strict=True) if hole]
    if holes:
        raise NoSandbox(
            f"models from others are not run here: the sandbox leaves open {', '.join(holes)}"
        )
    return "bubblewrap and a seccomp filter"


def _at_home() -> list[str]:
    """What lies in the home directory, but for the way to interpreter and packages."""
    shown = (interpreter(), *import_paths())
    try:
        entries = [os.path.realpath(entry) for entry in Path.home().iterdir()]
    except (OSError, RuntimeError):
        return []
    return [e for e in entries if not any(s == e or s.startswith(f"{e}/") for s in shown)][:100]
