"""What the sandbox costs: start, a call, a light curve; answers compared with the bare function."""

from __future__ import annotations

import json
import re
import statistics
import time
import types
from pathlib import Path
from typing import Any

import numpy as np

from mmcoord.inference.engine import run
from mmcoord.inference.hosted import hosted
from mmcoord.inference.job import DistancePrior, Job, SamplerSettings
from mmcoord.inference.probe import probe
from mmcoord.inference.sandbox import Sandbox
from mmcoord.inference.usermodel import read_source
from mmcoord.records import Photometry

DOCS = Path(__file__).parents[1] / "docs" / "models.md"
EXAMPLE = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[0]
MODEL = read_source(EXAMPLE, name="example")
BANDS = ("lsst:g", "lsst:r", "lsst:z")


def bare() -> Any:
    """The same function in this process: the text is our own."""
    module = types.ModuleType("example")
    exec(EXAMPLE, module.__dict__)
    return module.spectral_luminosity


def timed(action: Any, repeats: int) -> float:
    """Median seconds."""
    times_s = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times_s.append(time.perf_counter() - start)
    return statistics.median(times_s)


def start_once() -> None:
    with Sandbox(MODEL) as sandbox:
        sandbox.start()


def fit_calls(backend: Any) -> dict[str, Any]:
    """Light curves that a fit of 5 parameters to an effective size of 400 asks for."""
    from mmcoord.inference.passbands import passbands

    t_day = np.repeat([0.6, 1.5, 2.6, 4.5], len(BANDS))
    band = np.tile(np.arange(len(BANDS)), 4)
    with hosted(MODEL) as model:
        mags = model.magnitudes(
            np.array([[0.2, 5000.0, 0.6]]), np.array([100.0]), np.array([0.023]), t_day, band,
            passbands(BANDS),
        )[0]  # fmt: skip
    noisy = mags + 0.05 * np.random.default_rng(1).standard_normal(len(mags))
    light = tuple(
        Photometry("x", 60000.0 + t, BANDS[b], float(m), 0.05)
        for t, b, m in zip(t_day, band, noisy, strict=True)
    )
    job = Job(
        light, 60000.0, DistancePrior("gaussian", 100.0, 10.0), models=("example",),
        sampler=SamplerSettings(ess_target=400, backend=backend), user_models=(MODEL.source,),
    )  # fmt: skip
    summary = run(job).summary
    return {
        "n_calls": summary["comparison"][0]["n_calls"],
        "ess": summary["ess"],
        "wall_s": summary["wall_s"],
        "velocity_c": summary["parameters"]["velocity_c"]["median"],
    }


def main() -> None:
    probe()
    rng = np.random.default_rng(0)
    theta = np.stack([p.from_unit(rng.random(64)) for p in MODEL.parameters], axis=1)
    t_day = rng.uniform(0.1, 10.0, (64, 1320))
    wave = rng.uniform(3000.0, 10000.0, (64, 1320))
    p = types.SimpleNamespace(**{q.name: theta[:, k, None] for k, q in enumerate(MODEL.parameters)})
    function = bare()
    with Sandbox(MODEL) as sandbox:
        same = bool((sandbox(theta, t_day, wave) == function(p, t_day, wave)).all())
        one = theta[:1], t_day[:1, :4], wave[:1, :4]
        figures = {
            "start_ms": 1e3 * timed(start_once, 10),
            "smallest_call_us": 1e6 * timed(lambda: sandbox(*one), 500),
            "ms_per_spectral_curve": 1e3 / 64 * timed(lambda: sandbox(theta, t_day, wave), 20),
            "ms_per_spectral_curve_bare": 1e3 / 64 * timed(lambda: function(p, t_day, wave), 20),
        }
    print(
        json.dumps(
            {
                "same_bytes_as_bare": same,
                **{name: round(value, 4) for name, value in figures.items()},
                "fit_smc_is": fit_calls("smc-is"),
                "fit_dynesty": fit_calls("dynesty"),
            }
        )
    )


if __name__ == "__main__":
    main()
