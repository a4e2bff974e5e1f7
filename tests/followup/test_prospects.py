"""What is kept between plans changes none of them, and spares the work that it should spare."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from followup.assign import Assigned, assign
from followup.claims import Claim, ClaimState
from followup.evidence import TargetEvidence
from followup.factors import RankSettings
from followup.prospects import Memory
from followup.rank import rank
from followup.sites import load_catalogue
from followup.slate import Slate
from followup.tonight import Sight, night_from
from followup.value_rank import most_promising
from followup.value_table import ValueSettings
from mmcoord.elsewhere import Elsewhere
from mmcoord.predictions import ClassPredictions
from mmcoord.records import PlanRow
from mmcoord.timescales import mjd_tai
from tests.followup.sample import EVENT, NOW, steady, target
from tests.followup.test_value_rank import made, predictions

CAMERAS = load_catalogue().asked[:9]
SETTINGS = RankSettings()
SOME_CLASSES = [predictions(0.3), predictions(0.7, kilonova=20.0)]


def somewhere(rng: np.random.Generator, name: str) -> TargetEvidence:
    """A target anywhere, known in one of four ways."""
    place = {"ra_deg": float(rng.uniform(0, 360)), "dec_deg": float(rng.uniform(-80, 60))}
    common = {**place, "credible_level_2d": float(rng.uniform(0, 0.9))}
    kind = rng.integers(4)
    if kind == 0:
        return target(name, **common)
    if kind == 1:
        seen = {"latest_mag": float(rng.uniform(17, 23)), "latest_band": "ztf:r"}
        return target(name, **common, **seen, latest_mjd_tai=mjd_tai(NOW) - 0.4)
    if kind == 2:
        curve = steady(float(rng.uniform(18, 23)))
        return target(name, **common, predicted={"lsst:r": curve, "lsst:i": curve})
    classes = SOME_CLASSES[rng.integers(2)]
    known = {**common, "classes": classes, "p_kilonova": float(classes.probability[0])}
    return target(name, **known, p_kilonova_origin="screen")


def a_pointing(rng: np.random.Generator, over: TargetEvidence) -> Elsewhere:
    return Elsewhere(
        "treasuremap",
        str(rng.integers(1000)),
        "somebody",
        "planned",
        mjd_tai(NOW) + 0.3,
        over.ra_deg,
        over.dec_deg,
        radius_deg=1.0,
    )


def planned(
    targets: list[TargetEvidence],
    now: datetime,
    elsewhere: list[Elsewhere],
    previous: tuple[PlanRow, ...],
    memory: Memory | None,
) -> tuple[tuple[PlanRow, ...], Assigned]:
    slate = Slate(keep=6)
    rows = rank(
        targets,
        event_time=EVENT,
        now=now,
        instruments=CAMERAS,
        settings=SETTINGS,
        worth=ValueSettings(informed_targets=2),
        elsewhere=elsewhere,
        slate=slate,
        memory=memory,
    )
    return rows, assign(rows[:6], slate, tolerance=0.05, previous=previous)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_plans_with_a_memory_are_those_without_to_the_last_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    memory, now = Memory(), NOW
    targets = [somewhere(rng, f"t{n}") for n in range(10)]
    elsewhere: list[Elsewhere] = []
    previous: tuple[PlanRow, ...] = ()
    for _ in range(6):
        n = int(rng.integers(len(targets)))
        match rng.integers(7):
            case 0:
                targets[n] = somewhere(rng, targets[n].object_id)
            case 1:
                targets.append(somewhere(rng, f"t{len(targets)}-{rng.integers(99)}"))
            case 2:
                targets.pop(n)
            case 3:
                now += timedelta(minutes=10)
            case 4:
                elsewhere.append(a_pointing(rng, targets[n]))
            case 5:
                elsewhere.clear()
            case 6:
                targets[n] = dataclasses.replace(targets[n], latest_mag=19.0)
        rng.shuffle(targets)  # type: ignore[arg-type]
        with_it = planned(targets, now, elsewhere, previous, memory)
        assert with_it == planned(targets, now, elsewhere, previous, None)
        previous = with_it[1].rows


class Counting(Memory):
    """Counts the targets that are worked out."""

    n_targets = 0

    def prospects(self, targets, *rest):  # type: ignore[no-untyped-def]
        self.n_targets += len(targets)
        return super().prospects(targets, *rest)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), most=st.integers(1, 12))
def test_the_first_rows_are_those_of_the_whole_ranking(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    targets = [somewhere(rng, f"t{n:02d}") for n in range(30)]
    taken = Claim("t03", "a group", ClaimState.CLAIMED, NOW, NOW + timedelta(hours=6))
    targets[3] = dataclasses.replace(targets[3], claims=(taken,))
    asked: dict[str, Any] = {
        "event_time": EVENT,
        "now": NOW,
        "instruments": CAMERAS,
        "settings": SETTINGS,
    }
    elsewhere = [a_pointing(rng, targets[5])]
    slates = Slate(keep=most), Slate(keep=most)
    whole = rank(targets, **asked, elsewhere=elsewhere, slate=slates[0])
    first = rank(targets, **asked, elsewhere=elsewhere, slate=slates[1], most=most)
    assert first == whole[:most]
    one, other = (assign(whole[:most], slate, tolerance=0.05) for slate in slates)
    assert one == other


def test_what_cannot_be_among_the_first_is_not_worked_out() -> None:
    rng = np.random.default_rng(3)
    places = [(float(rng.uniform(0, 360)), float(rng.uniform(-80, 60))) for _ in range(300)]
    targets = [
        target(f"t{n:03d}", ra_deg=ra, dec_deg=dec, credible_level_2d=0.1, p_kilonova=0.9**n)
        for n, (ra, dec) in enumerate(places)
    ]
    memory = Counting()
    rows = rank(
        targets, event_time=EVENT, now=NOW, instruments=CAMERAS, memory=memory, most=10
    )  # fmt: skip
    whole = rank(targets, event_time=EVENT, now=NOW, instruments=CAMERAS)
    assert rows == whole[:10]
    # Unknown brightness counts a half, the worst airmass less than another half: 0.9^14 is less.
    assert memory.n_targets < 100


def test_a_row_of_a_block_does_not_see_the_others() -> None:
    """To the last bit: what was worked out in one block may stand in another."""
    rng = np.random.default_rng(7)
    targets = [somewhere(rng, f"t{n:03d}") for n in range(67)]
    night = night_from(NOW, SETTINGS)
    whole = Sight(targets, CAMERAS, night, SETTINGS)
    for rows in ([5], [3, 60], list(range(20, 51))):
        part = Sight([targets[row] for row in rows], CAMERAS, night, SETTINGS)
        for number in range(len(CAMERAS)):
            one = whole.parts(number, np.array(rows))
            other = part.parts(number, np.arange(len(rows)))
            for field in dataclasses.fields(one):
                a, b = getattr(one, field.name), getattr(other, field.name)
                assert np.array_equal(a, b, equal_nan=True), field.name


def test_only_the_most_promising_are_asked_what_each_class_would_show() -> None:
    asked: list[str] = []

    def target_of(name: str, p_kilonova: float, says: ClassPredictions | None) -> TargetEvidence:
        def answer() -> ClassPredictions | None:
            asked.append(name)
            return says

        return dataclasses.replace(made(name, p_kilonova), classes=answer)

    known = predictions()
    targets = [
        target_of("a", 0.9, None), target_of("b", 0.5, known), target_of("c", 0.2, known)
    ]  # fmt: skip
    few = ValueSettings(informed_targets=1)
    when = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
    rows = rank(targets, event_time=EVENT, now=when, instruments=CAMERAS, worth=few)
    assert asked == ["a", "b"]
    informed = {row.object_id for row in rows if "information" in row.factors}
    assert informed <= {"b"}
    assert most_promising([], [], 3, lambda target, is_certain: None) == {}


def test_who_says_the_same_is_not_asked_again() -> None:
    asked: list[str] = []
    known = predictions()

    @dataclasses.dataclass(frozen=True)
    class Saying:
        what: str

        def __call__(self) -> ClassPredictions:
            asked.append(self.what)
            return known

    memory = Memory()
    for what in ("one", "one", "other", "other", "one"):
        some = [dataclasses.replace(made("a", 0.5), classes=Saying(what))]
        rank(some, event_time=EVENT, now=NOW, instruments=CAMERAS, memory=memory)
    assert asked == ["one", "other", "one"]
