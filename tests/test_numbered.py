"""Names and numbers, against a dict and a list."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcoord import numbered as module
from mmcoord.numbered import NumberedNames

# Few letters, so that names come again, are empty, or begin like each other.
NAME = st.text("ab\0é星", max_size=4)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(NAME, max_size=60), max_size=8))
def test_they_number_as_a_dict_would(batches: list[list[str]]) -> None:
    names = NumberedNames()
    oracle: dict[str, int] = {}
    for batch in batches:
        wanted = [oracle.setdefault(name, len(oracle)) for name in batch]
        assert names.numbers(batch).tolist() == wanted
        assert len(names) == len(oracle)
    assert names.of(range(len(names))) == list(oracle)


def test_a_table_that_grew_many_times_knows_all_of_them() -> None:
    names = NumberedNames()
    rng = np.random.default_rng(1)
    made = [f"ZTF26{n:x}" for n in rng.permutation(200_000)]
    for start in range(0, len(made), 700):
        names.numbers(made[start : start + 700])
    assert names.numbers(made[::-1]).tolist() == list(range(len(made)))[::-1]
    some = rng.integers(0, len(made), 500)
    assert names.of(some.tolist()) == [made[n] for n in some]


def test_names_that_all_begin_in_one_place_of_the_table_are_told_apart() -> None:
    names = NumberedNames()
    made = [f"o{n}" for n in range(20_000)]
    slot = [
        module._slot(np.frombuffer(name.encode(), np.uint8), 0, len(name), names._seed, 64)
        for name in made
    ]
    crowded = [name for name, where in zip(made, slot, strict=True) if where == 63]
    assert len(crowded) > 100  # the last 64th of the table: the search goes round its end
    assert names.numbers(crowded * 2).tolist() == list(range(len(crowded))) * 2


def test_a_name_costs_its_length_and_little_more() -> None:
    names = NumberedNames()
    names.numbers(["compiled"])
    tracemalloc.start()
    for start in range(0, 100_000, 1000):
        names.numbers([f"MS261124aab-{n:05d}" for n in range(start, start + 1000)])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / 100_000 < 1.2 * (17 + 4 + 4 / 0.5)


def test_too_many_bytes_are_refused_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    names = NumberedNames()
    names.numbers(["a"])
    monkeypatch.setattr(module, "_MOST_BYTES", 3)
    with pytest.raises(OverflowError, match="4 bytes"):
        names.numbers(["bcd"])
    assert names.numbers(["bc"]).tolist() == [1]
