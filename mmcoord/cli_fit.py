"""``mmcoord fit``: one light curve, one inference."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mmcoord.cli_common import (
    ConfigOption,
    DbOption,
    JsonOption,
    context,
    note,
    print_json,
    settings_of,
    utc_moment,
)
from mmcoord.errors import BadModel, ConfigError
from mmcoord.inference.source import UserSource

if TYPE_CHECKING:
    from mmcoord.inference.models.base import Parameter

__all__ = ["event_time", "fit"]

HostDust = Literal["own", "av", "av_rv"]
Systematics = Literal["common", "per_band"]
SamplerName = Literal["smc-is", "dynesty", "nautilus"]


def fit(
    photometry: Annotated[Path, typer.Argument(help="Photometry of one object.")],
    t0: Annotated[str, typer.Option(help="Time of the event: MJD (UTC) or ISO.", metavar="T")],
    distance_mpc: Annotated[float | None, typer.Option(help="Luminosity distance.")] = None,
    distance_err: Annotated[float | None, typer.Option(help="Its error, Mpc.")] = None,
    z: Annotated[float | None, typer.Option(help="Redshift instead of a distance.")] = None,
    model: Annotated[
        str, typer.Option(help="all, names, names of added models (name@version), a file.py.")
    ] = "all",
    seed: Annotated[int, typer.Option(help="Same seed, same answer.")] = 1,
    ebv_mw: Annotated[
        float | None, typer.Option(help="Milky Way E(B-V) still in the data.")
    ] = None,
    chirp_mass: Annotated[
        float | None, typer.Option(help="Of the binary, Msun: for models that use it.")
    ] = None,
    chirp_mass_err: Annotated[float, typer.Option(help="Its error, Msun.")] = 0.01,
    host_dust: Annotated[HostDust, typer.Option(help="Dust in the host.")] = "own",
    systematics: Annotated[Systematics, typer.Option(help="Free errors.")] = "common",
    sampler: Annotated[
        SamplerName, typer.Option(help="Ours, or one to check it or for slow models.")
    ] = "smc-is",
    ess: Annotated[int, typer.Option(help="Effective samples to reach.", min=10)] = 2000,
    out: Annotated[Path | None, typer.Option(help="Posterior samples (.npz).")] = None,
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Infer the parameters of one light curve."""
    from mmcoord.inference.engine import run
    from mmcoord.inference.files import read_photometry
    from mmcoord.inference.job import DistancePrior, Job, SamplerSettings

    t0_mjd_tai = event_time(t0)
    data = read_photometry(photometry)
    for line in data.skipped:
        print(f"mmcoord: {photometry}: {line}", file=sys.stderr)
    if distance_mpc is not None:
        error = distance_err if distance_err is not None else 0.05 * distance_mpc
        prior = DistancePrior("gaussian", distance_mpc, error)
    elif z is not None:
        prior = DistancePrior.from_redshift(z)
    else:
        prior = DistancePrior.unknown()
    models, user_models = _models(model, config, db)
    result = run(
        Job(
            photometry=data.photometry,
            t0_mjd_tai=t0_mjd_tai,
            distance=prior,
            redshift=z,
            ebv_mw=ebv_mw,
            models=models,
            seed=seed,
            priors=_chirp_mass_prior(chirp_mass, chirp_mass_err),
            host_dust=host_dust,
            systematics=systematics,
            sampler=SamplerSettings(ess_target=ess, backend=sampler),
            user_models=user_models,
        )
    )
    for name, reason in result.summary["failed_models"].items():
        note(f"mmcoord: {name} is left out: {reason}")
    if distance_mpc is not None and model != "all":
        for line in result.summary["comparison"]:
            if not line["uses_distance"]:
                note(
                    f"mmcoord: {line['model']} does not use --distance-mpc: its source is at any "
                    'distance or at none (a model of yours is at the event with DISTANCE = "event")'
                )
    if out is not None:
        out.write_bytes(result.samples)
    if as_json:
        print_json(result.summary)
        return
    print(f"model {result.summary['model']}, converged: {result.summary['converged']}")
    if result.summary.get("p_kilonova") is not None:
        print(f"P(kilonova) = {result.summary['p_kilonova']:.4g}: {result.summary['reason']}")
    for name, value in {**result.summary["parameters"], **result.summary["derived"]}.items():
        unit = value.get("unit") or ""
        print(
            f"{name:>28}: {value['median']:.4g}  [{value['lo90']:.4g}, {value['hi90']:.4g}] {unit}"
        )


def event_time(said: str) -> float:
    """MJD (TAI) of a time that is an MJD (UTC) or ISO 8601, UTC where it has no zone.

    Raises
    ------
    ConfigError
        It is neither.
    """
    from mmcoord.timescales import mjd_tai, utc_mjd_to_tai

    try:
        return utc_mjd_to_tai(float(said))
    except (OverflowError, ValueError):
        pass
    try:
        return mjd_tai(utc_moment(said))
    except ValueError:
        raise ConfigError(
            f"--t0 {said!r}: neither an MJD nor a time like 2026-11-24T04:46:44Z"
        ) from None


def _chirp_mass_prior(mass_msun: float | None, err_msun: float) -> tuple[Parameter, ...]:
    from mmcoord.inference.models.base import Parameter

    if mass_msun is None:
        return ()
    low, high = max(mass_msun - 6.0 * err_msun, 0.1), mass_msun + 6.0 * err_msun
    return (Parameter("chirp_mass", "Msun", low, high, "normal", mass_msun, err_msun),)


def _models(
    asked: str, config: Path | None, db: str | None
) -> tuple[tuple[str, ...], tuple[UserSource, ...]]:
    """What ``--model`` says: names for a job, and the texts of those that are not installed."""
    from mmcoord.inference.models import registry

    parts = asked.split(",")
    files = [_model_file(part) for part in parts if part.endswith(".py")]
    names = tuple(part for part in parts if not part.endswith(".py"))
    stored: tuple[UserSource, ...] = ()
    if any(name != "all" and name not in registry.names() for name in names):
        from mmcoord import usermodels

        with context(settings_of(config, db)) as ctx, ctx.database.read() as session:
            names, stored = usermodels.asked(session, names)
    return (*names, *(source.name for source in files)), (*stored, *files)


def _model_file(path: str) -> UserSource:
    """A model that is in no store: checked, but for the long test of recovery."""
    from mmcoord.inference.conformance import examine
    from mmcoord.inference.usermodel import read_file

    model = read_file(path)
    report = examine(model, budget_s=0.0)
    if not report.accepted:
        raise BadModel(f"refused\n{report.text()}", where=path)
    return dataclasses.replace(model.source, speed=report.speed or "slow")
