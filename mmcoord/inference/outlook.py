"""What a candidate will look like in the coming days, from the screening bank. Pure.

:func:`predictions` has the shape of a run's ``light_curve`` and serves candidates that have no
posterior yet; :func:`class_predictions` tells the classes apart, for whoever weighs what an
observation would teach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy.typing as npt

from mmcoord.inference.screening import ScreenRequest
from mmcoord.predictions import ClassPredictions

__all__ = ["class_predictions", "class_probabilities", "predictions"]

LightCurve = dict[str, dict[str, list[float | None]]]


def predictions(request: ScreenRequest, bands: Sequence[str], mjd_tai: npt.ArrayLike) -> LightCurve:
    """Band -> ``mjd_tai``, ``q05``, ``q50``, ``q95`` of the apparent AB magnitude if the candidate
    is a kilonova; None: fainter than 40. As ``RunRow.light_curve``."""
    raise NotImplementedError


def class_predictions(
    request: ScreenRequest,
    bands: Sequence[str],
    mjd_tai: npt.ArrayLike,
    *,
    n_draws: int = 64,
    seed: int = 0,
    run_summary: Mapping[str, object] | None = None,
    run_light_curve: Mapping[str, Mapping[str, Sequence[float | None]]] | None = None,
) -> ClassPredictions:
    """Per class its probability and draws of its light curve, given the candidate's photometry.

    With a finished run's ``summary`` the probabilities are the run's; with its ``light_curve``
    the kilonova's draws follow its quantiles. Everything else is the bank's.
    """
    raise NotImplementedError


def class_probabilities(summary: Mapping[str, object]) -> dict[str, float]:
    """P(class) of a finished run, from its summary's ``comparison``; all kilonova models are
    one class. Empty: nothing was compared."""
    raise NotImplementedError
