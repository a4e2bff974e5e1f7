"""Files of models: what is read from them, and how mistakes are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcoord.errors import BadModel
from mmcoord.inference.usermodel import FUNCTIONS, read_file, read_source
from tests.inference.usermodels import FADER

FUNCTION = "def absolute_magnitude(p, t_day, wavelength_angstrom): return t_day\n"


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "fader.py"
    path.write_text('"""Fades (you 2026).\n\nMore."""\n' + FADER)
    model = read_file(path)
    assert (model.name, model.reference) == ("fader", "Fades (you 2026).")
    assert model.is_kilonova
    assert model.distance == "event"
    assert not model.vectorised
    assert [p.name for p in model.parameters] == ["peak", "fade"]
    assert (model.parameters[0].low, model.parameters[0].unit) == (-18.0, "mag")
    assert read_file(path, name="other").name == "other"


def test_reading_executes_nothing(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    read_source(f"open({str(witness)!r}, 'w')\n{FADER}", name="m")
    assert not witness.exists()


def test_a_normal_prior_keeps_its_numbers_in_order() -> None:
    text = 'PARAMETERS = {"a": ("normal", 3.0, 0.5, 1.0, 4.0, "d")}\n' + FUNCTION
    prior = read_source(text, name="m").parameters[0]
    assert (prior.mean, prior.std, prior.low, prior.high) == (3.0, 0.5, 1.0, 4.0)
    assert float(prior.from_unit(np.array([0.5]))[0]) == pytest.approx(3.0, abs=0.02)


def test_apparent_magnitudes_have_no_distance() -> None:
    text = FADER.replace('KIND = "kilonova"', "").replace("absolute", "apparent")
    assert read_source(text, name="m").distance == "none"
    with pytest.raises(BadModel, match="contradict"):
        read_source(text + '\nDISTANCE = "own"\n', name="m")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PARAMETERS = {\n", r"line 1: not Python: '\{' was never closed"),
        (FUNCTION, "defines no PARAMETERS"),
        ('PARAMETERS = {"a": ("uniform", 0, 1, "")}\n', "defines none of the functions"),
        ('x = 1\nPARAMETERS = {"a": ("uniform", np.log(2), 1, "")}\n' + FUNCTION,
         r"line 2: \('uniform', np.log\(2\), 1, ''\) must be plain numbers"),
        ('PARAMETERS = {\n  "a": ("uniform", 0, 1, ""),\n  "b": ("flat", 0, 1, "")}\n' + FUNCTION,
         "line 3: prior of 'b' must be"),
        ('PARAMETERS = {"a": ("uniform", 1, 0, "")}\n' + FUNCTION,
         r"line 1: parameter 'a': bad range \[1.0, 0.0\]"),
        ('PARAMETERS = {"a": ("log_uniform", 0, 1, "")}\n' + FUNCTION, "line 1: .*bad range"),
        ('PARAMETERS = {"a": ("uniform", 0, 1e999, "")}\n' + FUNCTION,
         "line 1: prior of 'a' is not proper: inf"),
        ('PARAMETERS = {"a": ("normal", 9, 1, 0, 1, "")}\n' + FUNCTION, "line 1: .*mean inside"),
        ('PARAMETERS = {"a": ("uniform", True, 2, "")}\n' + FUNCTION, "True is not a number"),
        ('PARAMETERS = {"a": ("uniform", 0, 1)}\n' + FUNCTION, "line 1: prior of 'a' must be"),
        ('PARAMETERS = {"a": ()}\n' + FUNCTION, "line 1: prior of 'a' must be"),
        ('PARAMETERS = {"sigma_sys": ("uniform", 0, 1, "")}\n' + FUNCTION, "'sigma_sys' is ours"),
        ('PARAMETERS = {"a b": ("uniform", 0, 1, "")}\n' + FUNCTION, "not a parameter's name"),
        ("PARAMETERS = {}\n" + FUNCTION, "line 1: 0 parameters"),
        ("PARAMETERS = 5\n" + FUNCTION, "line 1: PARAMETERS must be a dict"),
        ('PARAMETERS = {"a": ("uniform", 0, 1, "")}\nKIND = "nova"\n' + FUNCTION,
         "line 2: KIND is 'nova', none of kilonova, other"),
        ('PARAMETERS = {"a": ("uniform", 0, 1, "")}\nVECTORISED = 1\n' + FUNCTION,
         "line 2: VECTORISED must be True or False"),
        ('NAME = "a"\nNAME = "b"\n' + FUNCTION, "line 2: NAME is set twice"),
        ('PARAMETERS = {"a": ("uniform", 0, 1, "")}\ndef absolute_magnitude(p, t): return t\n',
         r"line 2: absolute_magnitude takes \(p, t_day, wavelength_angstrom\), not 2"),
        ('PARAMETERS = {"a": ("uniform", 0, 1, "")}\n' + FUNCTION
         + FUNCTION.replace("absolute", "apparent"), "defines 2 "),
        ('PARAMETERS = {"a": ("uniform", 0, 1, "\\0")}\n' + FUNCTION, "line 1: .*is not a unit"),
        ('PARAMETERS = {"\u017f": ("uniform", 0, 1, "")}\n' + FUNCTION, "not a parameter's name"),
        ('REFERENCE = "\\x1b[2J"\n' + FUNCTION, "line 1: REFERENCE must be a string of printable"),
        ("#" * 300_000, "longer than 256 KiB"),
        ("a = 1\0", "not Python"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BadModel, match=message):
        read_source(text, name="m")


@pytest.mark.parametrize("name", ["", "Mine", "1a", "a-b", "a" * 41, "a/../b", "a@1"])
def test_a_name_that_could_be_mistaken_is_refused(name: str) -> None:
    with pytest.raises(BadModel, match="not a model's name"):
        read_source(FADER, default_name=name)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"absent\.py: cannot be read"):
        read_file(tmp_path / "absent.py")
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'")
    with pytest.raises(BadModel, match=r"latin\.py: cannot be read"):
        read_file(tmp_path / "latin.py")


snippets = st.sampled_from(
    [
        "PARAMETERS = ", '{"a": ("uniform", 0, 1, "")}', "{", "}", "(", ")", "\n", "NAME = 'x'\n",
        "KIND = ", '"kilonova"', "**{}", "1e999", "-" * 50, "[" * 30, *FUNCTIONS, FUNCTION, "\t",
        "async def absolute_magnitude(p, t, w): pass\n", "lambda: 0", "\x00", "\ud800", ": ", ",",
    ]
)  # fmt: skip


@given(st.one_of(st.text(max_size=200), st.lists(snippets, max_size=12).map("".join)))
def test_whatever_the_text_it_is_a_model_or_a_named_mistake(text: str) -> None:
    try:
        model = read_source(text, name="m")
    except BadModel:
        return
    assert model.parameters
    assert model.reference.isprintable()
    assert model.function in FUNCTIONS
