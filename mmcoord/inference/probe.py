"""Do the walls of the sandbox stand on this machine? Asked from inside, before anything is run."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path

import numpy as np

from mmcoord.errors import BadModel, NoSandbox
from mmcoord.inference.confinement import import_paths, interpreter
from mmcoord.inference.sandbox import Limits, Sandbox
from mmcoord.inference.usermodel import read_source

__all__ = ["probe"]

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
        model = read_source(source, name="probe")
        sandbox = Sandbox(model, Limits(call_s=10.0), is_probe=True)
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
