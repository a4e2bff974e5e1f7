"""One question to a confined process and its answer, within limits of time, size and chatter."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from mmcoord.inference.sandbox_worker import LENGTHS

__all__ = ["Exchange", "Fault", "Limits"]

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


class Fault(Exception):
    """What went wrong with the process, in words."""


class Exchange:
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
                    raise Fault(f"no answer within {allowed_s:g} s: stopped")
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
            raise Fault(self._end())
        self._answer += data
        return True

    def _listen(self, descriptor: int) -> bool:
        data = os.read(descriptor, _CHUNK)
        self._printed += data
        if len(self._printed) > self._limits.printed_bytes:
            raise Fault(f"printed more than {self._limits.printed_bytes} bytes: stopped")
        return bool(data)

    def _frame(self) -> tuple[dict[str, Any], bytes] | None:
        """The answer, once it is complete."""
        if len(self._answer) < LENGTHS.size:
            return None
        n_header, n_body = LENGTHS.unpack_from(self._answer)
        if n_header > _MAX_HEADER or n_body > self._n_answer:
            raise Fault("its answers do not follow the protocol")
        size = LENGTHS.size + n_header + n_body
        if len(self._answer) < size:
            return None
        if len(self._answer) > size:
            raise Fault("its answers do not follow the protocol")
        try:
            header = json.loads(self._answer[LENGTHS.size : LENGTHS.size + n_header])
        except (ValueError, RecursionError):
            header = None
        if not isinstance(header, dict):
            raise Fault("its answers do not follow the protocol")
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
