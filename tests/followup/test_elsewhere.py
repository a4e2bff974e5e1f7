"""What others do lowers the worth of doing it again: small cases by hand."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from followup.elsewhere import ElsewhereSettings, others_of
from mmcoord.elsewhere import Elsewhere
from mmcoord.errors import BadNotice

MJD = 61365.2


def pointing(**changes: Any) -> Elsewhere:
    values: dict[str, Any] = {
        "source": "treasuremap",
        "key": "1",
        "who": "GOTO",
        "status": "planned",
        "obs_mjd_tai": MJD,
        "ra_deg": 60.0,
        "dec_deg": -30.0,
        "band": "sdss:r",
        "depth_mag": 21.0,
        "radius_deg": 1.0,
    }
    return Elsewhere(**(values | changes))


def left(*records: Elsewhere, band: str = "lsst:r", at: float = MJD, depth: float = 21.0) -> float:
    others = others_of("x", 60.0, -30.0, records)
    return float(others.nobody_else(band, at, depth))


def test_a_second_groups_plan_by_hand() -> None:
    """Same field, band, time and depth: made with chance 1/2. Twelve hours later: 1/2 e^-1."""
    assert left(pointing()) == pytest.approx(0.5)
    assert left(pointing(), at=MJD + 0.5) == pytest.approx(1 - 0.5 / math.e)
    assert left(pointing(), band="lsst:i") == pytest.approx(1 - 0.5 * 0.4)
    assert left(pointing(), band="2mass:j") == pytest.approx(1 - 0.5 * 0.1)
    assert left(pointing(), depth=22.0) == pytest.approx(1 - 0.5 * 10**-0.8)
    assert left(pointing(depth_mag=23.0)) == pytest.approx(0.5)
    assert left(pointing(status="completed")) == pytest.approx(0.1)
    assert left(pointing(), pointing(key="2", status="completed")) == pytest.approx(0.05)


def test_what_is_not_known_counts_between_yes_and_no() -> None:
    for lacking in ({"band": None}, {"depth_mag": None}, {"radius_deg": None}):
        assert left(pointing(**lacking)) == pytest.approx(1 - 0.5 * 0.5)
    assert left() == 1.0
    factor = others_of("x", 60.0, -30.0, []).factor("lsst:r", MJD, 21.0)
    assert (factor.value, factor.counted) == (None, 1.0)


def test_other_fields_and_cancelled_plans_do_not_count() -> None:
    assert left(pointing(dec_deg=-28.0)) == 1.0
    assert left(pointing(status="cancelled")) == 1.0
    assert left(pointing(ra_deg=61.0)) == pytest.approx(0.5)  # 0.87 deg away on the sphere
    assert left(pointing(radius_deg=0.0, dec_deg=-30.0 + 2 / 3600)) == pytest.approx(0.5)
    assert left(pointing(radius_deg=0.0, dec_deg=-30.0 + 9 / 3600)) == 1.0
    named = pointing(radius_deg=0.0, dec_deg=-30.1, object_name="x")
    assert left(named) == pytest.approx(0.5)


def test_the_sentence_names_who_and_when() -> None:
    factor = others_of("x", 60.0, -30.0, [pointing()]).factor("lsst:r", MJD + 0.1, 21.0)
    assert factor.value == pytest.approx(1 - 0.5 * math.exp(-0.2))
    assert "GOTO plans to observe it in sdss:r 2.4 h earlier (Treasure Map)" in factor.reason


@given(
    st.lists(
        st.builds(
            pointing,
            status=st.sampled_from(["planned", "completed", "cancelled"]),
            obs_mjd_tai=st.floats(MJD - 3, MJD + 3),
            dec_deg=st.floats(-32, -28),
            band=st.sampled_from([None, "sdss:r", "sdss:i", "2mass:ks"]),
            depth_mag=st.none() | st.floats(17, 25),
            radius_deg=st.none() | st.floats(0, 5),
        ),
        max_size=6,
    )
)
def test_more_records_never_raise_the_chance_and_order_changes_nothing(
    records: list[Elsewhere],
) -> None:
    numbered = [
        pointing(**{n: getattr(r, n) for n in _FREE} | {"key": str(k)})
        for k, r in enumerate(records)
    ]
    whole = left(*numbered)
    assert 0.0 < whole <= 1.0
    assert whole <= left(*numbered[:-1]) + 1e-12
    random.Random(0).shuffle(numbered)
    assert left(*numbered) == pytest.approx(whole, rel=1e-12)


_FREE = ("status", "obs_mjd_tai", "dec_deg", "band", "depth_mag", "radius_deg")


def test_settings_and_records_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="planned"):
        ElsewhereSettings(planned=1.5)
    with pytest.raises(BadNotice, match="ra"):
        pointing(ra_deg=360.0)
    with pytest.raises(BadNotice, match="time"):
        pointing(obs_mjd_tai=math.nan)
