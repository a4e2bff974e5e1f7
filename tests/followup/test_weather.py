"""What is said of the weather counts; what is not said counts for nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from followup.weather import read_weather, usable_chance
from mmcoord.errors import ConfigError
from mmcoord.timescales import mjd_utc

ENTRY = {"start": "2026-11-23T00:00:00Z", "end": "2026-11-23T04:00:00Z", "usable": 0.25}


def written(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_a_spell_counts_while_it_lasts_and_silence_never_closes(tmp_path: Path) -> None:
    spells = read_weather(written(tmp_path / "w.json", {"paranal": [ENTRY]}))
    noon = mjd_utc(spells["paranal"][0].start)
    times = noon + np.array([-0.1, 0.0, 0.1, 4 / 24 + 0.01])
    assert usable_chance(spells["paranal"], times).tolist() == [1.0, 0.25, 0.25, 1.0]
    assert usable_chance(spells.get("keck", ()), times).tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "not an object of sites"),
        ({"paranal": 3}, "paranal: not a list"),
        ({"paranal": [3]}, "paranal entry 1: not an object"),
        ({"paranal": [ENTRY | {"usable": 2}]}, "usable: 2 is not in"),
        ({"paranal": [ENTRY | {"usable": None}]}, "usable: None is not in"),
        ({"paranal": [ENTRY | {"start": "soon"}]}, "'soon' is not a time"),
        ({"paranal": [ENTRY | {"end": ENTRY["start"]}]}, "end: not after start"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, document: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_weather(written(tmp_path / "w.json", document))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.json: weather cannot be read"):
        read_weather(tmp_path / "absent.json")
