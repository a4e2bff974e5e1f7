"""The published facts about GW170817's first map, through the public API alone."""

import json

import numpy as np
import pytest

import skymaps
from tests.shared import shared

AT2017GFO = (197.450354, -23.381484)


@pytest.fixture(scope="module")
def gw170817() -> skymaps.SkyMap:
    notice = json.loads(shared("gw/MS181101ab-initial.json").read_text())
    return skymaps.load(notice["event"]["skymap"])


def test_area_and_distance_are_those_of_the_circular(gw170817: skymaps.SkyMap) -> None:
    assert skymaps.credible_area_deg2(gw170817, 0.9) == pytest.approx(31.0, abs=0.05)
    mean, std = skymaps.distance_summary(gw170817)
    assert mean == pytest.approx(39.8, abs=0.05)
    assert std == pytest.approx(8.3, abs=0.05)


def test_at2017gfo_is_inside(gw170817: skymaps.SkyMap) -> None:
    answer = skymaps.match(gw170817, *AT2017GFO, 40.0, 2.0)
    assert answer.credible_level_2d[0] == pytest.approx(0.556, abs=5e-4)
    assert 0.0 < answer.credible_level_3d[0] < 0.9


def test_written_map_reads_back_the_same(gw170817: skymaps.SkyMap) -> None:
    again = skymaps.load(skymaps.to_fits_bytes(gw170817))
    assert again.content_id == gw170817.content_id
    assert again.header == gw170817.header


def test_no_distance_is_no_answer(gw170817: skymaps.SkyMap) -> None:
    answer = skymaps.match(gw170817, [197.45, 197.45], [-23.38, -23.38], [np.nan, 40.0])
    assert np.isnan(answer.credible_level_3d[0])
    assert np.isfinite(answer.credible_level_3d[1])
