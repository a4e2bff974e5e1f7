"""The child's side of the sandbox: it executes a model's file and answers calls.

Its text is given to a confined interpreter that sees no module of ours, so it imports the
standard library and NumPy alone. Frames both ways: two little-endian uint32 (length of header,
length of body), a JSON header, raw bytes (float64 in C order). Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
import traceback
import types
from typing import Any, BinaryIO

__all__ = ["LENGTHS", "main", "pack"]

LENGTHS = struct.Struct("<II")
_FILE = "model.py"


def pack(header: dict[str, Any], body: bytes = b"") -> bytes:
    """A frame."""
    text = json.dumps(header).encode()
    return LENGTHS.pack(len(text), len(body)) + text + body


def _read(stream: BinaryIO) -> tuple[dict[str, Any], bytes]:
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        os._exit(0)  # the parent has closed the pipe
    n_header, n_body = LENGTHS.unpack(lengths)
    return json.loads(stream.read(n_header)), stream.read(n_body)


def _limit(limits: dict[str, int]) -> None:
    """Hard limits: without capabilities nobody can raise them again."""
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))


def _load(header: dict[str, Any], source: str) -> Any:
    module = types.ModuleType("model")
    module.__dict__["__file__"] = _FILE
    sys.modules["model"] = module
    exec(compile(source, _FILE, "exec"), module.__dict__)  # noqa: S102 - what the jail is for
    return getattr(module, header["function"])


def _call(function: Any, names: list[str], vectorised: bool, shapes: Any, body: bytes) -> Any:
    """(n, p), (n, m), (n, m) in one body -> (n, m)."""
    import numpy as np

    arrays, start = [], 0
    for rows, columns in shapes:
        stop = start + 8 * rows * columns
        arrays.append(np.frombuffer(body[start:stop], dtype="<f8").reshape(rows, columns))
        start = stop
    theta, t_day, wavelength = (array.copy() for array in arrays)
    if vectorised:
        p = types.SimpleNamespace(**{k: theta[:, i, None] for i, k in enumerate(names)})
        return _checked(function(p, t_day, wavelength), t_day.shape)
    out = np.empty(t_day.shape)
    for k in range(len(theta)):
        values = dict(zip(names, theta[k].tolist(), strict=True))
        answer = function(types.SimpleNamespace(**values), t_day[k], wavelength[k])
        out[k] = _checked(answer, t_day[k].shape)
    return out


def _checked(answer: Any, shape: tuple[int, ...]) -> Any:
    import numpy as np

    if not np.issubdtype(np.asarray(answer).dtype, np.number) or np.iscomplexobj(answer):
        raise TypeError(f"returned {type(answer).__name__}, not an array of real numbers")
    array = np.asarray(answer, dtype="<f8")
    if array.shape != shape:
        raise ValueError(f"returned shape {array.shape}, wanted {shape}")
    return array


def _what(error: BaseException) -> dict[str, Any]:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == _FILE]
    kind = next(c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins")
    text = f"{kind}: {error}"[:500]
    return {"error": text, "kind": kind, "line": lines[-1] if lines else None}


def main() -> None:
    """Answer frames until the pipe closes. Arguments: limits as JSON, then import paths."""
    _limit(json.loads(sys.argv[1]))
    sys.path.extend(sys.argv[2:])
    # The protocol gets descriptors of its own; what the model prints goes to the error pipe.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)
    function: Any = None
    setting: dict[str, Any] = {}
    while True:
        header, body = _read(requests)
        answer, out = {"id": header["id"]}, b""
        try:
            if header["op"] == "load":
                setting = header
                function = _load(header, body.decode())
            else:
                out = _call(
                    function, setting["names"], setting["vectorised"], header["shapes"], body
                ).tobytes()
        except BaseException as error:  # whatever it was, it is told to the parent
            answer.update(_what(error))
        sys.stdout.flush()
        answers.write(pack(answer, out))
        answers.flush()


if __name__ == "__main__":
    main()
