"""The tables of ``docs/sinks.md`` are the tables of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sinks import test_answers, test_answers_more

DOCS = (Path(__file__).parents[2] / "docs" / "sinks.md").read_text(encoding="utf-8")


TABLES = {name: found[0] for name, found in test_answers.TABLES.items()}
TABLES |= {name: found[0] for name, found in test_answers_more.TABLES.items()}


@pytest.mark.parametrize("table", list(TABLES))
def test_the_documented_table_is_the_one_in_use(table: str) -> None:
    _, _, section = DOCS.partition(f"\n### {table}\n")
    section = re.split(r"\n##", section)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    documented = [(name, outcome, wait) for name, _, outcome, wait in rows[2:]]
    rules = TABLES[table]
    in_use = [
        (r.name, r.outcome.value, "" if r.retry_after_s is None else f"{r.retry_after_s:g}")
        for r in rules
    ]
    assert documented == in_use


def test_every_test_that_the_page_names_exists() -> None:
    folder = Path(__file__).parent
    for file, name in re.findall(r"(test_\w+\.py)::(test_\w+)", DOCS):
        assert f"def {name}" in (folder / file).read_text(encoding="utf-8"), (file, name)
