"""GCN circulars: what they are about, what they state, and no address of anybody."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listeners.circulars import names_in, parse, synonyms_in, without_addresses
from mmcoord.errors import BadInput, BadNotice
from mmcoord.records import Circular
from tests.listeners.test_igwn import json_values
from tests.shared import shared


def made(**changes: Any) -> dict[str, Any]:
    whole = {
        "eventId": "GRB 260301A",
        "submitter": "A. Person at an institute <a.person@example.org>",
        "subject": "GRB 260301A: a detection",
        "circularId": 45001,
        "body": "Write to a.person@example.org or b+c@sub.example.org.",
        "createdOn": 1772332200000,
    } | changes
    return {key: value for key, value in whole.items() if value is not None}


def read(**changes: Any) -> Circular:
    (circular,) = parse(json.dumps(made(**changes)).encode())
    return circular


def test_fields() -> None:
    circular = read(version=3, editedOn=1772332260500)
    assert (circular.circular_id, circular.version) == (45001, 3)
    assert circular.created_at == datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
    assert circular.edited_at == datetime(2026, 3, 1, 2, 31, 0, 500000, tzinfo=UTC)
    assert circular.event_names == ("GRB 260301A",)
    assert read().version == 1


def test_no_address_is_kept() -> None:
    circular = read()
    assert circular.submitter == "A. Person at an institute"
    assert "@" not in circular.body + circular.subject + circular.submitter
    assert "@" not in read(submitter="a.person@example.org").submitter


@given(st.from_regex(r"[a-z.+_-]{1,80}@[a-z-]{1,20}\.[a-z]{2,5}", fullmatch=True))
def test_addresses_of_any_length_are_found(address: str) -> None:
    assert address not in without_addresses(f"see <{address}>, there")


@pytest.mark.parametrize(
    ("subject", "names"),
    [
        # Subjects as circulars have them (archive of GCN).
        ("LIGO/Virgo S190814bv: Identification of a GW compact binary merger", ["S190814bv"]),
        ("GRB 170817A: INTEGRAL/SPI-ACS observation", ["GRB 170817A"]),
        ("IceCube-230416A: IceCube observation of a track", ["IceCube-230416A"]),
        ("LIGO/Virgo S190425z: AT2019ebq is a SN", ["S190425z", "AT2019ebq"]),
        ("FRB 20231013B: repetition", ["FRB 20231013B"]),
        ("EP240408a: EP-WXT detection of a fast X-ray transient", ["EP240408a"]),
        ("SVOM/GRB 250311A: MXT position, sb25031103", ["GRB 250311A", "sb25031103"]),
        ("GRB221009A/Swift J1913.1+1946: a bright one", ["GRB221009A", "Swift J1913.1+1946"]),
        ("ATLAS image of the field, BUGS1234", []),
    ],
)
def test_names_in_subjects(subject: str, names: list[str]) -> None:
    assert list(names_in(subject)) == names


@pytest.mark.parametrize(
    ("subject", "groups"),
    [
        ("GRB 170817A = GW170817: summary", [("GRB 170817A", "GW170817")]),
        ("GW170817 = GRB 170817A = AT2017gfo", [("GW170817", "GRB 170817A", "AT2017gfo")]),
        ("GRB 221009A (Swift J1913.1+1946): MAXI", [("GRB 221009A", "Swift J1913.1+1946")]),
        ("IceCube-230416A (aka KM3-230416A): x", [("IceCube-230416A", "KM3-230416A")]),
        ("EP240408a (= GRB 240408B): x", [("EP240408a", "GRB 240408B")]),
        # Named together is not the same:
        ("LIGO/Virgo S190425z: spectroscopy of AT2019ebq", []),
        ("S190425z (AT2019ebq): spectroscopy", []),
        ("S190425z: GRB 190425A is unrelated", []),
        ("S190425z / GRB 190425A: limits", []),
        ("S230518h (GRB 230518A candidate): limits", []),
        ("GRB 170817A = GRB 170817A", []),
    ],
)
def test_only_what_is_stated_is_a_synonym(subject: str, groups: list[tuple[str, ...]]) -> None:
    assert list(synonyms_in(subject)) == groups


def test_the_discoverers_sentence_gives_the_trigger() -> None:
    """The sentence of Fermi GBM's circulars (33603 among them) and of Swift BAT's."""
    gbm = read(body="GBM triggered and located GRB 230410A (trigger 702818765.135562 / 230410476).")
    assert gbm.synonyms == (("GRB 230410A", "Fermi-GBM-702818765", "bn230410476"),)
    bat = read(
        body="At 14:10:17 UT, the Swift Burst Alert Telescope (BAT) triggered and located "
        "Swift J1913.1+1946 (trigger=1126853).  "
    )
    assert bat.synonyms == ()  # not a burst's name
    bat = read(
        body="Swift Burst Alert Telescope (BAT) triggered and located GRB 260301A\n"
        "(trigger=1126853).  Swift slewed immediately to the burst."
    )
    assert bat.synonyms == (("GRB 260301A", "Swift-BAT-1126853"),)


def test_the_official_example() -> None:
    (circular,) = parse(shared("gw/gcn-schema/gcn/circulars.example.json").read_bytes())
    assert circular.circular_id == 33603
    assert circular.synonyms == (("GRB 230410A", "Fermi-GBM-702818765", "bn230410476"),)
    assert "@" not in circular.submitter


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"circularId": None}, "circularId"),
        ({"circularId": 1.5}, "circularId"),
        ({"circularId": 0}, "circularId"),
        ({"circularId": 10**12}, "circularId"),
        ({"version": "2"}, "version"),
        ({"subject": None}, "subject"),
        ({"body": 7}, "body"),
        ({"body": "x" * 1_000_001}, "body"),
        ({"createdOn": "today"}, "createdOn"),
        ({"createdOn": -1}, "createdOn"),
        ({"editedOn": 1e300}, "editedOn"),
        ({"eventId": ["a"]}, "eventId"),
    ],
)
def test_refusals_name_the_field(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(BadNotice) as caught:
        read(**changes)
    assert caught.value.where == where


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*made(), "version", "editedOn", "format"]), json_values)
def test_any_value_in_any_field_is_refused_or_sound(key: str, value: Any) -> None:
    try:
        (circular,) = parse(json.dumps(made() | {key: value}).encode("utf-8", "surrogatepass"))
    except BadInput:
        return
    assert circular.circular_id > 0
    assert "\x00" not in circular.subject + circular.body
    circular.subject.encode("utf-8")
