"""Models as others would write them, for several tests."""

from __future__ import annotations

import pytest

from mmcoord.errors import NoSandbox
from mmcoord.inference.probe import probe
from mmcoord.inference.usermodel import UserModel, read_source
from tests.system import missing

HEAD = """
import numpy as np
PARAMETERS = {"peak": ("uniform", -18.0, -12.0, "mag"), "fade": ("uniform", 0.1, 2.0, "mag/d")}
KIND = "kilonova"
"""

FADER = f"""{HEAD}
def absolute_magnitude(p, t_day, wavelength_angstrom):
    return p.peak + p.fade * t_day + (wavelength_angstrom - 6000.0) / 5000.0
"""


def model(body: str, *, name: str = "mine") -> UserModel:
    """A model whose function has this body (indented by four)."""
    lines = "".join(f"    {line}\n" for line in body.strip("\n").split("\n"))
    text = f"{HEAD}\ndef absolute_magnitude(p, t_day, wavelength_angstrom):\n{lines}"
    return read_source(text, name=name)


@pytest.fixture(scope="session")
def sandbox_works() -> None:
    """bubblewrap and libseccomp are here and hold; otherwise the test is skipped."""
    try:
        probe()
    except NoSandbox as error:
        missing(str(error))
