"""What is kept, against a list of what was asked for last."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from mmcoord.kept import Kept


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 60))), st.integers(1, 5))
def test_the_last_ones_stay_within_number_and_bytes(
    asked: list[tuple[int, int]], most: int
) -> None:
    kept: Kept[bytes] = Kept(most, most_bytes=100, n_bytes=len)
    last: list[tuple[int, int]] = []  # key and size, the newest at the end
    for key, size in asked:
        held = dict(last).get(key)
        made = kept.get(key, partial(bytes, size))
        assert len(made) == (size if held is None else held)
        last = [one for one in last if one[0] != key] + [(key, len(made))]
        if held is None:
            last = last[-most:]
            while len(last) > 1 and sum(n for _, n in last) > 100:
                last.pop(0)
        assert len(kept) == len(last)


def test_the_newest_stays_though_it_is_too_large() -> None:
    kept: Kept[bytes] = Kept(9, most_bytes=10, n_bytes=len)
    kept.put("small", b"1")
    kept.put("large", bytes(50))
    assert kept.get("large", lambda: b"again") == bytes(50)
    assert kept.get("small", lambda: b"again") == b"again"


def test_what_has_grown_since_counts_as_it_is_now() -> None:
    kept: Kept[bytearray] = Kept(9, most_bytes=10, n_bytes=len)
    grows = kept.get("grows", bytearray)
    grows += bytes(20)
    kept.put("other", bytearray(b"1"))
    assert kept.get("grows", lambda: bytearray(b"again")) == b"again"


def test_what_was_dropped_is_made_again() -> None:
    kept: Kept[str] = Kept(2)
    kept.put("a", "first")
    kept.drop("a")
    kept.drop("never there")
    assert kept.get("a", lambda: "second") == "second"
