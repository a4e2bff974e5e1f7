"""Joining what several networks say of one burst."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mmcoord.supernova.burst import Sighting, Statement, clusters, join

T0 = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def said(
    minute: float,
    detectors: dict[str, float],
    *,
    event: str = "SNEWS2-A",
    sender: str = "SNEWS2 one 0",
    **more: object,
) -> Statement:
    sightings = tuple(Sighting(name, at(s)) for name, s in detectors.items())
    return Statement(
        event_id=event,
        group="SNEWS2",
        sender=sender,
        said_at=T0 + timedelta(minutes=minute),
        first_time=min((s.time for s in sightings), default=T0),
        is_practice=bool(more.pop("is_practice", False)),
        sightings=sightings,
        **more,  # type: ignore[arg-type]
    )


FIRST = said(1, {"Super-K": 0.0, "IceCube": 0.03})
SECOND = said(2, {"Super-K": 0.0, "IceCube": 0.03, "JUNO": 0.01})
OTHER_SERVER = said(3, {"Super-K": 0.0, "LVD": 0.02}, sender="SNEWS2 two 0", event="SNEWS2-B")


def test_a_joining_detector_is_in_and_two_servers_are_one_burst():
    burst = join([FIRST, SECOND, OTHER_SERVER])
    assert burst.detectors == ("Super-K", "JUNO", "LVD", "IceCube")
    assert burst.events == ("SNEWS2-A", "SNEWS2-B")
    assert burst.first_time == T0
    assert burst.withdrawn == ()


def test_a_detector_that_its_server_names_no_more_has_retracted():
    burst = join([FIRST, SECOND, said(4, {"Super-K": 0.0, "IceCube": 0.03})])
    assert burst.withdrawn == ("JUNO",)
    assert "JUNO" not in burst.detectors


def test_an_older_word_of_another_server_does_not_bring_a_retracted_detector_back():
    older = said(1.5, {"JUNO": 0.01, "LVD": 0.02}, sender="SNEWS2 two 0")
    gone = said(4, {"Super-K": 0.0, "IceCube": 0.03})
    assert "JUNO" not in join([FIRST, older, SECOND, gone]).detectors
    newer = said(5, {"JUNO": 0.011, "LVD": 0.02}, sender="SNEWS2 two 0")
    assert "JUNO" in join([FIRST, older, SECOND, gone, newer]).detectors


def test_a_correction_of_the_time_stands():
    burst = join([FIRST, said(2, {"Super-K": 0.5, "IceCube": 0.03})])
    assert {s.detector: s.time for s in burst.sightings}["Super-K"] == at(0.5)


@given(st.permutations([FIRST, SECOND, OTHER_SERVER, said(4, {"Super-K": 0.0})]), st.data())
def test_neither_order_nor_repeats_matter(order, data):
    repeats = data.draw(st.lists(st.sampled_from(order), max_size=3))
    assert join([*order, *repeats]) == join([FIRST, SECOND, OTHER_SERVER, said(4, {"Super-K": 0})])


def test_a_retraction_takes_back_its_own_event_only():
    back = said(5, {}, is_retraction=True)
    burst = join([FIRST, OTHER_SERVER, back])
    assert burst.detectors == ("Super-K", "LVD")
    assert not burst.is_retracted
    everything = join([FIRST, back])
    assert everything.is_retracted
    assert everything.sightings == ()
    assert everything.first_time is None


def test_the_silent_and_the_switched_off_are_told_apart():
    status = {"Super-K": "triggered", "JUNO": "on", "NOvA": "OFF"}
    burst = join([said(1, {"Super-K": 0.0, "LVD": 1.0}, status=status)])
    assert burst.silent == ("JUNO",)
    assert burst.off == ("NOvA",)


def test_one_mark_makes_it_practice_and_disagreeing_marks_are_named():
    burst = join([said(1, {"LVD": 0.0}, is_practice=True, markers={"topic": True, "flags": False})])
    assert burst.is_practice
    (words,) = burst.contradictions
    assert "topic says test" in words
    assert "flags says real" in words
    agreed = join([said(1, {"LVD": 0.0}, markers={"topic": True, "alert_type": True})])
    assert agreed.contradictions == ()


def test_alerts_of_one_event_that_disagree_on_practice_are_named():
    burst = join([FIRST, said(2, {"LVD": 0.0}, is_practice=True)])
    assert burst.is_practice
    assert len(burst.contradictions) == 1


def test_bursts_are_apart_by_more_than_the_window_and_practice_from_real():
    late = said(9, {"LVD": 10.5}, event="SNEWS2-C")
    drill = said(1, {"LVD": 0.0}, event="SNEWS2-TEST", is_practice=True)
    found = clusters([late, drill, SECOND, FIRST])
    assert [sorted({s.event_id for s in c}) for c in found] == [
        ["SNEWS2-A"],
        ["SNEWS2-C"],
        ["SNEWS2-TEST"],
    ]


def test_the_window_counts_from_the_earliest_neutrino():
    """SNEWS: 10 s from the first of a group, not from one member to the next."""
    chain = [said(1, {"LVD": s}, event=f"E{s}") for s in (0.0, 6.0, 12.0)]
    for order in itertools.permutations(chain):
        sizes = sorted(len(c) for c in clusters(order))
        assert sizes == [1, 2]
