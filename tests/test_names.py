"""Spellings of one name agree, and a coincidence's other event is called as it is here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcoord.names import MAX_NAME, bare_number, linked_names, name_key, spelled


@pytest.mark.parametrize(
    "spelling",
    [
        "GRB170817A",
        "GRB 170817a",
        "grb-170817A",
        "GRB_170817A",
        " GRB\u00a0170817A ",
        "GRB\u2013170817A",
    ],
)
def test_spellings_of_one_name_agree(spelling: str) -> None:
    assert name_key(spelling) == name_key("GRB 170817A")


@pytest.mark.parametrize(
    "other", ["GRB 170817B", "GRB 170818A", "GW170817A", "GRB 1708170A", "170817A"]
)
def test_other_names_do_not(other: str) -> None:
    assert name_key(other) != name_key("GRB 170817A")


LETTERS = st.characters(max_codepoint=0x24F, exclude_categories=["Cs", "Cc"])


@given(
    st.text(LETTERS, max_size=200), st.sampled_from([" ", "-", "_", "\u2013"]), st.integers(0, 200)
)
def test_a_separator_anywhere_and_case_change_nothing(name: str, sign: str, place: int) -> None:
    key = name_key(name)
    assert name_key(name[:place] + sign + name[place:]) == key
    assert name_key(key) == key


@given(st.text(max_size=600))
def test_a_key_is_bounded_whatever_the_name(name: str) -> None:
    assert len(name_key(name)) <= MAX_NAME


@given(st.lists(st.sampled_from(["AT2017gfo", "AT 2017gfo", "at2017GFO", "GW170817", " - "])))
def test_one_spelling_is_kept_whatever_the_order(names: list[str]) -> None:
    assert spelled(names) == spelled(reversed(names))
    assert set(spelled(names)) <= {"at2017gfo", "gw170817"}


@pytest.mark.parametrize(
    ("event_id", "number"),
    [
        ("Fermi-GBM-524666471", "524666471"),
        ("Super-K-SN.095001.000001-TEST", "000001"),
        ("KM3NeT-2", None),
        ("S190425z", None),
        ("524666471", None),
    ],
)
def test_a_trigger_is_found_by_its_number_alone(event_id: str, number: str | None) -> None:
    assert bare_number(event_id) == number


@pytest.mark.parametrize(
    ("observatory", "notice_id", "name"),
    [
        ("Fermi", "524666471", "Fermi-GBM-524666471"),  # LVK's external_coinc
        ("Fermi-GBM", "524666471", "Fermi-GBM-524666471"),  # the unified schema's ref_instrument
        ("Swift", "1123129", "Swift-BAT-1123129"),
        ("SNEWS", "1000194", "SNEWS-1000194"),
        ("LVK", "S230914ak", "S230914ak"),
        ("IceCube", "138590_39138551", "IceCube-138590_39138551"),
        ("CALET", "123456", "CALET-123456"),
    ],
)
def test_the_other_event_is_called_as_here(observatory: str, notice_id: str, name: str) -> None:
    assert name in linked_names(observatory, notice_id)
    assert "ivo://x#y" in linked_names(observatory, notice_id, "ivo://x#y")


def test_nothing_known_is_no_name() -> None:
    assert linked_names("LVK", "unknown") == ()
