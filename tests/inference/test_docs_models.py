"""What ``docs/models.md`` shows works, and the limits that it names are those in use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmcoord.inference.confinement import TMP_BYTES
from mmcoord.inference.conformance import examine
from mmcoord.inference.hosted import MAX_CURVES, N_NODES, POINTS
from mmcoord.inference.sandbox import Limits
from mmcoord.inference.usermodel import FUNCTIONS, read_source

DOCS = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)


@pytest.mark.usefixtures("sandbox_works")
@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_are_accepted(text: str) -> None:
    assert len(text.splitlines()) <= 25
    report = examine(read_source(text, name="example"), budget_s=0.0)
    assert report.accepted, report.text()


def test_both_kinds_of_example_are_there() -> None:
    used = {read_source(text, name="example").function for text in EXAMPLES}
    assert used == {"spectral_luminosity", "apparent_magnitude"}
    assert all(f"| `{name}` |" in DOCS for name in FUNCTIONS)


def test_the_documented_limits_are_in_use() -> None:
    limits = Limits()
    for line in (
        f"| memory | {limits.memory_mib} MiB |",
        f"| start, imports included | {limits.start_s:g} s |",
        f"| one call | {limits.call_s:g} s and {limits.curve_s:g} s for each light curve of "
        f"{POINTS} points in it (at most {MAX_CURVES}) |",
        f"| processor time of one process | {limits.cpu_s} s |",
        f"| printed output | {limits.printed_bytes} bytes per call |",
        f"| {TMP_BYTES // 2**20} MiB, {limits.file_mib} MiB per file |",
        f"| open files | {limits.files} |",
        f"bands integrated at {N_NODES} wavelengths each",
    ):
        assert line in DOCS
