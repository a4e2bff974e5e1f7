"""Corner plot and light curve of a finished run, by matplotlib and corner (extra ``pictures``)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mmcoord.errors import BadInput, MissingPart
from mmcoord.inference.job import rows
from mmcoord.posteriors.draws import Array, columns
from mmcoord.stages.jobs import job_from_json
from mmcoord.store.views_runs import RunContent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MAX_PARAMETERS", "corner_picture", "light_curve_picture"]

Format = Literal["png", "svg"]
MAX_PARAMETERS = 8
"""Panels grow as the square; so many take some seconds."""
_MAX_BANDS = 8
_INK, _BLUE = "#222222", "#1f77b4"


def corner_picture(run: RunContent, fmt: Format, parameters: Sequence[str] = ()) -> bytes:
    """Marginal and joint posteriors; medians and 90 % intervals over the columns.

    Parameters
    ----------
    parameters
        Which, in this order; empty: the first :data:`MAX_PARAMETERS` that vary.

    Raises
    ------
    BadInput
        A parameter that the run does not have, or too many.
    MissingPart
        matplotlib or corner is not installed.
    """
    figure = _figure((1.0, 1.0))
    try:
        import corner
    except ImportError:
        raise MissingPart("corner plots need corner (extra: pictures)") from None
    draws = columns(run.samples)
    names = list(parameters) or [n for n, v in draws.items() if np.ptp(v) > 0][:MAX_PARAMETERS]
    _check(names, draws)
    size = 1.6 + 1.7 * len(names)
    figure.set_size_inches(size, size)
    corner.corner(
        np.stack([draws[name] for name in names], axis=1),
        fig=figure,
        labels=[_label(run, name) for name in names],
        bins=24,
        levels=(0.393, 0.865),  # 1 and 2 sigma of a two-dimensional Gaussian
        plot_datapoints=False,
        smooth=0.8,
        color=_BLUE,
        quantiles=(0.05, 0.5, 0.95),
        show_titles=True,
        title_quantiles=(0.05, 0.5, 0.95),
        label_kwargs={"fontsize": 8},
        title_kwargs={"fontsize": 8},
    )
    figure.suptitle(_caption(run), fontsize=9, x=0.98, ha="right")
    return _rendered(figure, fmt)


def light_curve_picture(run: RunContent, fmt: Format) -> bytes:
    """The points that went in, and the 5-95 % band and median of the predicted magnitudes.

    Raises
    ------
    MissingPart
        matplotlib is not installed.
    """
    figure = _figure((7.0, 4.6))
    axes = figure.add_subplot()
    job = job_from_json(run.job)
    points = rows(job)
    observed = list(dict.fromkeys(row.band for row in points))
    bands = [b for b in observed if b in run.light_curve] or list(run.light_curve)
    for number, band in enumerate(bands[:_MAX_BANDS]):
        colour = f"C{number}"
        mine = [row for row in points if row.band == band]
        if band in run.light_curve:
            _draw_prediction(axes, run.light_curve[band], job.t0_mjd_tai, colour)
        for limit, marker in ((False, "o"), (True, "v")):
            shown = [row for row in mine if (row.mag_err is None) is limit]
            if shown:
                axes.errorbar(
                    [row.mjd_tai - job.t0_mjd_tai for row in shown],
                    [row.mag_ab for row in shown],
                    yerr=None if limit else [row.mag_err or 0.0 for row in shown],
                    fmt=marker,
                    ms=4,
                    mfc="none" if limit else colour,
                    color=colour,
                )
        axes.plot([], [], "o-", color=colour, ms=4, label=band)
    mags = [row.mag_ab for row in points]
    axes.set_ylim(max(mags) + 2.0, min(mags) - 1.5)
    first, last = points[0].mjd_tai - job.t0_mjd_tai, points[-1].mjd_tai - job.t0_mjd_tai
    axes.set_xlim(min(first, 0.0) - 0.5, min(last + 3.0, 20.0))
    axes.set_xlabel("days after the event (TAI)")
    axes.set_ylabel("AB magnitude")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, ncols=2)
    axes.set_title(_caption(run), fontsize=9)
    return _rendered(figure, fmt)


def _draw_prediction(axes: Any, curve: dict[str, Any], t0_mjd_tai: float, colour: str) -> None:
    t = np.asarray(curve["mjd_tai"]) - t0_mjd_tai
    low, mid, high = (np.array(curve[q], dtype=np.float64) for q in ("q05", "q50", "q95"))
    axes.fill_between(t, low, np.where(np.isnan(high), 60.0, high), color=colour, alpha=0.2, lw=0)
    axes.plot(t, mid, color=colour, lw=1)


def _check(names: Sequence[str], draws: dict[str, Array]) -> None:
    unknown = [name for name in names if name not in draws]
    if unknown:
        raise BadInput(f"no parameter {unknown[0]!r}; there are {', '.join(draws)}")
    if not 1 <= len(set(names)) == len(names) <= MAX_PARAMETERS:
        raise BadInput(f"1 to {MAX_PARAMETERS} different parameters make a picture")


def _label(run: RunContent, name: str) -> str:
    unit = run.unit(name).replace("$", r"\$")  # a dollar sign would begin a formula
    return f"{name} [{unit}]" if unit else name


def _caption(run: RunContent) -> str:
    p = run.summary.get("p_kilonova")
    parts = [
        run.model,
        "" if run.summary.get("converged") else "NOT CONVERGED",
        f"P(kilonova) {p:.3g}" if p is not None else "",
        f"run {run.run_key[:12]}",
    ]
    return ", ".join(part for part in parts if part)


def _figure(size_inch: tuple[float, float]) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPart("pictures need matplotlib (extra: pictures)") from None
    return Figure(figsize=size_inch, dpi=110)


def _rendered(figure: Figure, fmt: Format) -> bytes:
    """The same run gives the same bytes: no date, no random names."""
    import matplotlib as mpl

    out = io.BytesIO()
    about = {"Date": None} if fmt == "svg" else {"Software": "mmcoord"}
    with mpl.rc_context({"svg.hashsalt": "mmcoord", "svg.fonttype": "none"}):
        figure.savefig(out, format=fmt, metadata=about, bbox_inches="tight")
    return out.getvalue()
