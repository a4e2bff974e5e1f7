"""What a model from others has to show on arrival, and what each fault is called."""

from __future__ import annotations

import json

import pytest

from mmcoord.inference.conformance import Report, examine
from mmcoord.inference.sandbox import Limits
from mmcoord.inference.usermodel import read_source
from tests.inference.usermodels import FADER, model

pytestmark = pytest.mark.usefixtures("sandbox_works")


def failing(body: str, **options: float) -> tuple[str, str]:
    """Name and text of the one check that a model with this body fails."""
    report = examine(model(body), limits=Limits(call_s=5.0, curve_s=0.05), **options)
    assert not report.accepted
    (check,) = [check for check in report.checks if check.passed is False]
    after = report.checks[report.checks.index(check) + 1 :]
    assert {c.passed for c in after} <= {None}
    return check.name, check.text


@pytest.fixture(scope="module")
def good() -> Report:
    return examine(read_source(FADER, name="fader"), budget_s=12.0)


def test_a_good_model_is_accepted_with_every_check_made(good: Report) -> None:
    assert good.accepted
    assert [check.passed for check in good.checks] == [True] * 9
    assert good.speed in ("fast", "medium")
    assert "truths of" in good.checks[-1].text


def test_the_report_is_json_and_reads_as_text(good: Report) -> None:
    document = json.loads(json.dumps(good.to_json(), allow_nan=False))
    assert document["accepted"] is True
    assert [check["name"] for check in document["checks"]] == [c.name for c in good.checks]
    lines = good.text().splitlines()
    assert lines[0].startswith("model fader: accepted, ")
    assert all(line.startswith("ok  ") for line in lines[1:])


GOOD_LIGHT = "p.peak + p.fade * t_day"


@pytest.mark.parametrize(
    ("body", "check", "told"),
    [
        ("return 1 / 0", "finite", "line 7: raised ZeroDivisionError"),
        ("return t_day[1:]", "finite", "returned shape"),
        (f"return np.log(p.peak + 17) + 0 * ({GOOD_LIGHT})", "finite", "is nan, not a magnitude"),
        ("while True: pass", "finite", "no answer within"),
        (f"return {GOOD_LIGHT} + np.random.default_rng().random()", "deterministic",
         "a second call gives other numbers"),
        (f"global n\nn = globals().get('n', 0) + 1\nreturn {GOOD_LIGHT} + 1e-9 * n",
         "deterministic", "no memory of earlier calls"),
        (f"return {GOOD_LIGHT} + np.arange(len(t_day)) * 1e-3", "times",
         "depends on which other times are asked for"),
        (f"return {GOOD_LIGHT} + 0.1 * np.cumsum(t_day)", "times", "other times"),
        ("return p.peak + t_day", "parameters", "changing fade changes no light"),
        (f"return {GOOD_LIGHT} + 35", "brightness", "units?"),
        (f"return {GOOD_LIGHT} - 50", "brightness", "as bright as -"),
    ],
)  # fmt: skip
def test_a_fault_is_found_and_named(body: str, check: str, told: str) -> None:
    name, text = failing(body, budget_s=0.0)
    assert name == check
    assert told in text


def test_samples_that_look_at_each_other_are_found() -> None:
    text = FADER.replace("return p.peak", "return p.peak + 0.1 * p.peak.mean()")
    report = examine(read_source(text + "\nVECTORISED = True\n", name="m"), budget_s=0.0)
    (check,) = [check for check in report.checks if check.passed is False]
    assert check.name == "samples"
    assert "a sample alone differs" in check.text


@pytest.mark.long
def test_light_that_no_sampler_can_follow_is_found() -> None:
    # Deterministic, finite, every parameter acts, but its light is noise in its parameters.
    body = (
        "k = (p.peak * 1e9 + p.fade * 1e10) % 1.0\n"
        "return -16.0 + 6.0 * np.sin(1e3 * k * (1 + np.floor(t_day)))"
    )
    name, text = failing(body, budget_s=30.0)
    assert name == "recovery"
    assert "did not converge" in text or "miss their truths" in text


@pytest.mark.long
def test_a_slow_model_is_called_slow_and_not_fitted() -> None:
    report = examine(model(f"import time\ntime.sleep(0.012)\nreturn {GOOD_LIGHT}"), budget_s=60.0)
    assert report.accepted
    assert report.speed == "slow"
    assert report.ms_per_curve is not None
    assert report.ms_per_curve >= 12.0
    assert report.checks[-1].passed is None
    assert "one fit would take about" in report.checks[-1].text
