"""A burst's binned counts: read, and told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcoord.cli import app
from mmcoord.errors import BadInput
from mmcoord.supernova.counts import read_counts
from mmcoord.supernova.series import BinnedCounts, cut_off, weigh_series
from tests.supernova.test_messages import alert as snews_alert

BIN_S = 0.02
BACKGROUND = 0.02
T = np.arange(0.5 * BIN_S, 10.0, BIN_S)


def drawn(mean: Any, seed: int = 3) -> list[int]:
    """Poisson counts after 2 s of background."""
    quiet = np.full(100, BACKGROUND)
    rates = np.concatenate([quiet, BACKGROUND + mean])
    return [int(n) for n in np.random.default_rng(seed).poisson(rates)]


def cooling_counts(number: float) -> list[int]:
    """The counts of SN 1987A's shape: half within the first second, the rest over ten
    (exponential of 0.3 s and of 4 s; Loredo & Lamb 2002)."""
    shape = 0.5 * np.exp(-T / 0.3) / 0.3 + 0.5 * np.exp(-T / 4.0) / 4.0
    return drawn(number * shape * BIN_S)


def cut_counts(number: float, end_s: float) -> list[int]:
    """A constant rate that ends at once."""
    return drawn(number * (end_s > T) * BIN_S / end_s)


def document(counts: list[int], **changes: Any) -> dict[str, Any]:
    return {
        "detector": "Super-K", "bin_s": BIN_S, "background": BACKGROUND, "counts": counts,
    } | changes  # fmt: skip


def weighed(counts: list[int]) -> Any:
    return weigh_series(read_counts([("a", json.dumps(document(counts)).encode())]))


def test_a_signal_that_fades_over_seconds_is_a_neutron_star():
    found = weighed(cooling_counts(2000.0))
    assert found.probabilities["core_collapse"] > 0.9
    assert found.determined
    assert found.cut_off_s is None


def test_a_signal_that_stops_is_a_black_hole_and_when_it_stopped_is_said():
    found = weighed(cut_counts(4000.0, 1.0))
    assert found.probabilities["failed"] > 0.9
    assert found.cut_off_s == pytest.approx(1.0, abs=0.15)
    assert found.cut_off_p < 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_background_alone_speaks_against_a_collapse(seed):
    told = weighed(drawn(np.zeros_like(T), seed)).log_evidence
    assert max(told["core_collapse"], told["failed"]) < told["noise"] - 1.0


def test_few_counts_leave_the_two_collapses_undetermined():
    found = weighed(cut_counts(12.0, 1.0))
    assert not found.determined


def test_a_cut_off_is_improbable_only_where_counts_are_missing():
    rows = [BinnedCounts("Super-K", np.array(counts), BIN_S, BACKGROUND)
            for counts in (cooling_counts(100.0), cut_counts(100.0, 1.0))]  # fmt: skip
    assert cut_off(rows[:1], 1.0) > 0.01
    assert cut_off(rows[1:], 1.0) < 1e-3


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"{", "no JSON"),
        (b"3", "no object"),
        (json.dumps(document([0] * 9, detector="Borexino")).encode(), "no response of 'Borexino'"),
        (json.dumps(document([0] * 3)).encode(), "row of 8"),
        (json.dumps(document([-1] * 9)).encode(), "from 0 up"),
        (json.dumps(document([True] * 9)).encode(), "whole numbers"),
        (json.dumps(document([0] * 9, bin_s="x")).encode(), "bin_s: 'x' is no number"),
        (json.dumps(document([0] * 9, bin_s=0)).encode(), "bin_s: 0.0 s"),
        (json.dumps(document([0] * 9, background=-1)).encode(), "no background"),
        (json.dumps([document([0] * 9)] * 2).encode(), "twice"),
        (b'{"detector": "Super-K"}', "bin_s: is missing"),
    ],
)
def test_what_cannot_be_counts_is_refused_by_name(payload, told):
    with pytest.raises(BadInput, match=r"^sk\.json: ") as caught:
        read_counts([("sk.json", payload)])
    assert told in str(caught.value)


FIELDS = st.sampled_from(["detector", "bin_s", "background", "counts"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(FIELDS, inner),
)


@given(JSON)
def test_any_json_is_read_or_refused(value):
    try:
        read_counts([("x", json.dumps(value).encode())])
    except BadInput:
        return


def test_the_command_takes_the_alert_for_how_real_it_is(tmp_path: Path, capsys):
    counts = tmp_path / "sk.json"
    counts.write_text(json.dumps(document(cut_counts(4000.0, 1.0))))
    alert = tmp_path / "alert.json"
    times = {"IceCube": "2030-01-01T12:00:00.000", "Super-K": "2030-01-01T12:00:00.010"}
    alert.write_bytes(snews_alert(times))
    app(["classify", str(counts), "--alert", str(alert), "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert found["prior_real"] < 0.9
    assert found["probabilities"]["failed"] > 10.0 * 0.2 * found["prior_real"]
    app(["classify", str(counts)], standalone_mode=False)
    assert "The signal ends" in capsys.readouterr().out
