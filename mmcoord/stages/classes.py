"""What each class of source would show of a candidate tonight: for the worth of an observation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmcoord.inference.bank import SURVEY_BANDS
from mmcoord.inference.outlook import class_predictions
from mmcoord.inference.screening import ScreenRequest
from mmcoord.predictions import ClassPredictions
from mmcoord.store.tables import RunRow

__all__ = ["PREDICTED_BANDS", "classes_of"]

PREDICTED_BANDS = tuple(name for name in SURVEY_BANDS if not name.startswith("ztf"))
"""ZTF's stand so near to LSST's that these serve them."""
_TONIGHT_DAY = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.25])


def classes_of(
    request: ScreenRequest,
    begin_mjd_tai: float,
    result: RunRow | None,
    base_rate: float,
    bands: Sequence[str] = PREDICTED_BANDS,
) -> ClassPredictions | None:
    """For the day after ``begin_mjd_tai``: by the finished run where there is one, else by the
    screen. None where nothing can be said."""
    return class_predictions(
        request,
        bands,
        begin_mjd_tai + _TONIGHT_DAY,
        base_rate=base_rate,
        run_summary=result.summary if result is not None else None,
        run_light_curve=result.light_curve if result is not None else None,
    )
