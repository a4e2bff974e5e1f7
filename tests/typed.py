"""``mmcoord ...`` as typed, in this process: starting another one costs seconds of imports."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from mmcoord.cli import main

__all__ = ["Typed", "typed"]


@dataclass(frozen=True)
class Typed:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


def typed(*words: str) -> Typed:
    """Run the entry point with these arguments, to its exit code."""
    out, err = io.StringIO(), io.StringIO()
    with patch.object(sys, "argv", ["mmcoord", *words]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Typed(code, out.getvalue(), err.getvalue())
