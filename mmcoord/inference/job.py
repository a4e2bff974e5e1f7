"""What is asked of the engine, what it answers, and the key that makes equal questions one run.

This module is light (no Numba): the coordinator computes keys with it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from mmcoord.bands import canonical, is_modelled
from mmcoord.errors import BadCandidate, BadPhotometry, ConfigError
from mmcoord.inference.models import registry
from mmcoord.inference.models.base import Parameter
from mmcoord.inference.source import UserSource
from mmcoord.inference.start import Proposal, Start
from mmcoord.records import Photometry

__all__ = [
    "DEFAULT_CLASS_PRIORS",
    "WINDOW_DAY",
    "DistancePrior",
    "Job",
    "Result",
    "Row",
    "SamplerSettings",
    "detected_before",
    "family_key",
    "question_key",
    "rows",
    "run_key",
    "select",
]

WINDOW_DAY = (-30.0, 14.0)
"""Days after the event whose photometry a job uses.

A kilonova has faded by 14 d; detections before the event are what rules a source out.
"""

DEFAULT_CLASS_PRIORS: tuple[tuple[str, float], ...] = (
    ("kilonova", 0.01),
    ("sn_ia", 0.40),
    ("sn_ibc", 0.15),
    ("sn_iib", 0.10),
    ("afterglow", 0.04),
    ("fast_blackbody", 0.15),
    ("steady", 0.15),
)
"""P(class) of a candidate that lies in the localization and is new or was unknown before.

A statement, not a measurement: one kilonova in a hundred such candidates, the rest shared
after what magnitude-limited surveys report. Kilonova models share the kilonova's part equally.
A model that is not named gets the smallest part named.
"""

_KEY_FORMAT = 2
_MJD_QUANTUM = 1e-6
_MAG_QUANTUM = 1e-4
_CLEAR_ERR_MAG = 0.217
"""5 sigma."""
_BEFORE_DAY = 0.02
"""Half an hour: longer than an exposure and any doubt about time scales."""
_SPEED_OF_LIGHT_KM_S = 299792.458
_PECULIAR_KM_S = 300.0


@dataclass(frozen=True, slots=True)
class DistancePrior:
    """What is known of the luminosity distance before looking at the light.

    ``gaussian``: mean and standard deviation, as of a sky map along the line of sight
    (``Match.distance_mean_mpc``, ``distance_std_mpc``); ``ansatz``: p(r) ~ r^2 Normal(mu, sigma)
    with the map's DISTMU and DISTSIGMA (Singer et al. 2016, eq. 1); ``volume``: nothing known,
    p(r) ~ r^2 out to ``mean_mpc``.

    Raises
    ------
    BadCandidate
        A distance or error that is not positive.
    """

    kind: Literal["ansatz", "gaussian", "volume"]
    mean_mpc: float
    std_mpc: float

    def __post_init__(self) -> None:
        if self.kind not in ("ansatz", "gaussian", "volume"):
            raise BadCandidate(f"{self.kind!r} is not a kind of prior", where="distance")
        if not (math.isfinite(self.mean_mpc) and (self.mean_mpc > 0 or self.kind == "ansatz")):
            raise BadCandidate(f"{self.mean_mpc!r} Mpc is not a distance", where="distance")
        if self.kind != "volume" and not 0 < self.std_mpc < math.inf:
            raise BadCandidate(f"error {self.std_mpc!r} Mpc is not positive", where="distance")

    @classmethod
    def unknown(cls, out_to_mpc: float = 1000.0) -> DistancePrior:
        """Nothing known: uniform in volume out to ``out_to_mpc``."""
        return cls("volume", out_to_mpc, 0.0)

    @classmethod
    def from_redshift(cls, redshift: float, redshift_err: float | None = None) -> DistancePrior:
        """From a redshift (Planck 2018 cosmology), with 300 km/s of peculiar velocity."""
        from astropy.cosmology import Planck18

        if not redshift > 0:
            raise BadCandidate(f"{redshift!r} gives no distance", where="redshift")
        error = math.hypot(redshift_err or 0.0, _PECULIAR_KM_S / _SPEED_OF_LIGHT_KM_S)
        mean_mpc = float(Planck18.luminosity_distance(redshift).value)
        return cls("gaussian", mean_mpc, mean_mpc * error / redshift)


@dataclass(frozen=True, slots=True)
class SamplerSettings:
    """How the posterior is drawn."""

    ess_target: int = 2000
    """Effective samples at which importance sampling stops."""
    max_calls: int = 800_000
    """Likelihood evaluations per model after which it stops unconverged."""
    backend: Literal["smc-is", "dynesty", "nautilus"] = "smc-is"


@dataclass(frozen=True, slots=True)
class Job:
    """One question to the engine."""

    photometry: tuple[Photometry, ...]
    t0_mjd_tai: float
    """Time of the event (merger)."""
    distance: DistancePrior
    redshift: float | None = None
    """Of the host, if known; None: from the distance by the Hubble law."""
    ebv_mw: float | None = None
    """Milky Way E(B-V) that the photometry still contains; None: corrected already."""
    models: tuple[str, ...] = ("all",)
    seed: int = 0
    sampler: SamplerSettings = SamplerSettings()
    class_priors: tuple[tuple[str, float], ...] = DEFAULT_CLASS_PRIORS
    partition: str = "public"
    """Data partition that the photometry belongs to; a private one has keys of its own."""
    priors: tuple[Parameter, ...] = ()
    """In place of the models' own, by parameter name: what an alert says of the masses, say."""
    host_dust: Literal["own", "av", "av_rv"] = "own"
    """Dust in the host. ``own``: only in models that have it. ``av``: also in all others that lie
    at a distance, A_V free and R_V = 3.1; ``av_rv``: R_V free as well."""
    systematics: Literal["common", "per_band"] = "common"
    """One free error for all bands, or one for each band."""
    user_models: tuple[UserSource, ...] = ()
    """Models from others that ``models`` may name beside those installed; ``all`` means none
    of them. The source travels with the job, so that a run can be repeated exactly."""
    start: Start | None = None
    """An earlier run to begin with; filled in where runs are kept."""

    def model_names(self) -> tuple[str, ...]:
        """The models asked for, sorted, with ``all`` written out."""
        asked = set(self.models)
        if "all" in asked:
            asked = (asked - {"all"}) | set(registry.default_names())
        if not asked:
            raise ConfigError("a job names at least one model, or 'all'")
        both = {source.name for source in self.user_models} & set(registry.names())
        if both:
            raise ConfigError(f"model {min(both)!r} is ours already")
        return tuple(sorted(asked))


@dataclass(frozen=True, slots=True)
class Result:
    """The engine's answer; immutable."""

    run_key: str
    summary: dict[str, Any]
    """JSON; shape in docs/inference.md."""
    samples: bytes
    """``npz`` (no pickle): equal-weight posterior draws, one array per parameter."""
    light_curve: dict[str, dict[str, list[float | None]]]
    proposals: tuple[Proposal, ...] = ()
    """Of each converged model: what a run with more data begins with."""
    """Per band: ``mjd_tai``, ``q05``, ``q50``, ``q95`` of the predicted AB magnitude."""


class Row(NamedTuple):
    """One point as the key and the engine see it, quantised."""

    mjd_tai: float
    band: str
    mag_ab: float
    mag_err: float | None


def select(photometry: Sequence[Photometry], t0_mjd_tai: float) -> tuple[Photometry, ...]:
    """The points that a job uses: the only place where this is decided.

    Kept are points in :data:`WINDOW_DAY` of the event, in bands with a curve, once each. Limits
    before the event are dropped (they say nothing about what happened at the event); a late
    point beyond the window therefore does not change a run's key. Order: time, band, magnitude.
    """
    kept: dict[Row, Photometry] = {}
    for point in photometry:
        row = _row(point)
        phase_day = row.mjd_tai - t0_mjd_tai
        inside = WINDOW_DAY[0] <= phase_day <= WINDOW_DAY[1]
        if inside and is_modelled(row.band) and not (point.is_limit and phase_day < 0):
            kept.setdefault(row, point)
    return tuple(kept[row] for row in sorted(kept, key=_order))


def rows(job: Job) -> tuple[Row, ...]:
    """The selected points of a job, quantised: all that the engine sees of the data."""
    return tuple(_row(point) for point in select(job.photometry, job.t0_mjd_tai))


def detected_before(photometry: Sequence[Photometry], t0_mjd_tai: float) -> Photometry | None:
    """The first clear (5 sigma) detection more than half an hour before the event, if any.

    Such a source is not the event's kilonova, however its later light looks.
    """
    early = [
        point
        for point in photometry
        if point.mag_err is not None
        and point.mag_err <= _CLEAR_ERR_MAG
        and point.obs_mjd_tai < t0_mjd_tai - _BEFORE_DAY
    ]
    return min(early, key=lambda point: point.obs_mjd_tai, default=None)


def run_key(job: Job) -> str:
    """sha256 of the canonical JSON of everything that can change the answer, and nothing else.

    In it: the selected points (order, spelling of bands and object names do not matter), event
    time, distance, redshift, extinction, models with their source hash, class priors, sampler
    settings, seed, partition, priors, dust, systematics, and the run that it begins with. Not in
    it: who asks.

    Raises
    ------
    BadPhotometry
        No point is left to fit.
    ConfigError
        Unknown model.
    """
    content = {**_family(job), **_data(job)}
    if job.start is not None:
        content["start"] = asdict(job.start)
    return _hash(content)


def question_key(job: Job) -> str:
    """The run key without the start: the same for jobs whose answers agree but for sampling."""
    return _hash({**_family(job), **_data(job)})


def family_key(job: Job) -> str:
    """What jobs have in common that differ in photometry and seed alone."""
    return _hash(_family(job))


def _data(job: Job) -> dict[str, Any]:
    data = rows(job)
    if not data:
        raise BadPhotometry(
            f"no point in a known band within {WINDOW_DAY[0]:g} to {WINDOW_DAY[1]:g} d of the event"
        )
    early = detected_before(job.photometry, job.t0_mjd_tai)
    return {
        "photometry": [
            [
                round(r.mjd_tai / _MJD_QUANTUM),
                r.band,
                round(r.mag_ab / _MAG_QUANTUM),
                None if r.mag_err is None else round(r.mag_err / _MAG_QUANTUM),
            ]
            for r in data
        ],
        "detected_before": None if early is None else round(early.obs_mjd_tai / _MJD_QUANTUM),
        "seed": job.seed,
    }


def _family(job: Job) -> dict[str, Any]:
    return {
        "format": _KEY_FORMAT,
        "t0": round(job.t0_mjd_tai / _MJD_QUANTUM),
        "distance": [
            job.distance.kind,
            round(job.distance.mean_mpc, 6),
            round(job.distance.std_mpc, 6),
        ],
        "redshift": None if job.redshift is None else round(job.redshift, 8),
        "ebv_mw": None if job.ebv_mw is None else round(job.ebv_mw, 6),
        "models": [_identity(job, name) for name in job.model_names()],
        "class_priors": sorted([name, round(p, 9)] for name, p in job.class_priors),
        "sampler": asdict(job.sampler),
        "partition": job.partition,
        "priors": sorted(json.dumps(asdict(p), sort_keys=True) for p in job.priors),
        "host_dust": job.host_dust,
        "systematics": job.systematics,
        **_backend_version(job),
    }


def _backend_version(job: Job) -> dict[str, str]:
    """Of a sampler that others maintain: its version can change the answer."""
    package = {"dynesty": "dynesty", "nautilus": "nautilus-sampler"}.get(job.sampler.backend)
    if package is None:
        return {}
    try:
        return {"backend_version": importlib.metadata.version(package)}
    except importlib.metadata.PackageNotFoundError:
        return {}


def _hash(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _identity(job: Job, name: str) -> list[Any]:
    """A model in the run key: its name and everything that can change its numbers."""
    for source in job.user_models:
        if source.name == name:
            return [name, source.version, source.speed, registry.hash_with(source.source)]
    return [name, registry.source_hash(name)]


def _row(point: Photometry) -> Row:
    try:
        band = canonical(point.band)
    except BadPhotometry:
        band = point.band
    error = point.mag_err
    if error is not None:
        error = max(round(error / _MAG_QUANTUM), 1) * _MAG_QUANTUM
    mjd_tai = round(point.obs_mjd_tai / _MJD_QUANTUM) * _MJD_QUANTUM
    return Row(mjd_tai, band, round(point.mag_ab / _MAG_QUANTUM) * _MAG_QUANTUM, error)


def _order(row: Row) -> tuple[float, str, float, float]:
    return (row.mjd_tai, row.band, row.mag_ab, -1.0 if row.mag_err is None else row.mag_err)
