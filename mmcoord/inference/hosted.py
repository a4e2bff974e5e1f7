"""A user's model in its sandbox as one of the engine's: from its function to magnitudes.

Users write of the source's own frame; distance, redshift, pass bands and the Milky Way's dust
are added here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mmcoord.errors import BadModel
from mmcoord.inference.models import registry
from mmcoord.inference.models.base import FAINTEST_MAG, Array, Model
from mmcoord.inference.passbands import Passbands
from mmcoord.inference.sandbox import Limits, Sandbox
from mmcoord.inference.source import UserSource
from mmcoord.inference.usermodel import UserModel, read_source

__all__ = ["MAX_CURVES", "N_NODES", "POINTS", "hosted", "model_of", "models_for"]

N_NODES = 33
"""Wavelengths per band at which a spectrum is asked for; f_nu is taken as a parabola through each
three of them. Lines narrower than a thirtieth of a band are not resolved."""
MAX_CURVES, POINTS = 64, 40
"""A call holds at most so many light curves of so many points, or as much in longer ones."""
_CM_PER_MPC = 3.0856775814913673e24
_ANGSTROM_PER_S = 2.99792458e18
_AB_ZERO_CGS = 3.631e-20


@contextlib.contextmanager
def hosted(model: UserModel, limits: Limits | None = None) -> Iterator[Model]:
    """The model, ready for the sampler, while its sandbox lives."""
    with Sandbox(model, limits) as sandbox:
        yield model_of(sandbox)


@contextlib.contextmanager
def models_for(
    names: tuple[str, ...], sources: tuple[UserSource, ...]
) -> Iterator[tuple[list[Model], dict[str, str]]]:
    """The models of these names, and why others are none: a job's own sources before installed.

    Raises
    ------
    ConfigError
        An unknown name.
    """
    own = {source.name: source for source in sources}
    models: list[Model] = []
    failed: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for name in names:
            if name not in own:
                models.append(registry.load(name))
                continue
            source = own[name]
            try:
                read = read_source(source.source, name=name, version=source.version, where=name)
            except BadModel as error:
                failed[name] = str(error)
                continue
            models.append(stack.enter_context(hosted(read)))
        yield models, failed


def model_of(sandbox: Sandbox) -> Model:
    """A :class:`~mmcoord.inference.models.base.Model` that asks the sandbox."""
    user = sandbox.model

    def magnitudes(
        theta: Array,
        distance_mpc: Array,
        redshift: Array,
        t_day: Array,
        band: npt.NDArray[np.int64],
        bands: Passbands,
    ) -> Array:
        out = np.empty((len(theta), len(t_day)))
        # Chunks depend on the shapes alone, so that the same job gives the same bytes.
        step = max(1, min(MAX_CURVES, MAX_CURVES * POINTS // max(len(t_day), 1)))
        for start in range(0, len(theta), step):
            part = slice(start, start + step)
            out[part] = _magnitudes(
                sandbox, theta[part], distance_mpc[part], redshift[part], t_day, band, bands
            )
        return out

    return Model(
        name=user.name,
        version=str(user.source.version),
        reference=user.reference,
        parameters=user.parameters,
        magnitudes=magnitudes,
        is_kilonova=user.is_kilonova,
        distance=user.distance,
    )


def _magnitudes(
    sandbox: Sandbox,
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    """(n, m); a kilonova is only asked for times after the event."""
    out = np.full((len(theta), len(t_day)), FAINTEST_MAG)
    kept = np.flatnonzero(t_day > 0) if sandbox.model.is_kilonova else np.arange(len(t_day))
    if len(kept) == 0:
        return out
    t, k = t_day[kept], band[kept]
    if sandbox.model.function == "spectral_luminosity":
        out[:, kept] = _from_spectra(sandbox, theta, distance_mpc, redshift, t, k, bands)
        return out
    pivot = bands.pivot_angstrom[k]
    if sandbox.model.function == "apparent_magnitude":
        shape = (len(theta), len(t))
        asked = np.broadcast_to(t, shape), np.broadcast_to(pivot, shape)
        shift = np.zeros((len(theta), 1))
    else:
        stretch = 1.0 + redshift[:, None]
        asked = t / stretch, pivot / stretch
        shift = 5.0 * np.log10(distance_mpc[:, None] * 1e5) - 2.5 * np.log10(stretch)
    answer = sandbox(theta, *asked, n_curves=_worth(theta, t))
    good = ~np.isnan(answer) & (answer > -np.inf)
    _check(sandbox, good, theta, *asked, answer, "a magnitude (inf: no light)")
    out[:, kept] = np.minimum(answer + shift + bands.mw_mag[k], FAINTEST_MAG)
    return out


def _worth(theta: Array, t_day: Array) -> float:
    """How many light curves of POINTS points this is in time."""
    return len(theta) * max(1.0, len(t_day) / POINTS)


def _from_spectra(
    sandbox: Sandbox,
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    """AB magnitudes from L_lambda(t, lambda): F_nu = (1 + z) L_nu((1 + z) nu) / (4 pi D^2)."""
    nodes, weights = _nodes(bands)
    n, m = len(theta), len(t_day)
    stretch = 1.0 + redshift[:, None]
    wave = nodes[band].reshape(-1) / stretch
    t = np.repeat(t_day, N_NODES) / stretch
    luminosity = sandbox(theta, t, wave, n_curves=_worth(theta, t_day))
    good = np.isfinite(luminosity) & (luminosity >= 0)
    _check(sandbox, good, theta, t, wave, luminosity, "a luminosity of at least 0")
    area = 4.0 * np.pi * (distance_mpc[:, None] * _CM_PER_MPC) ** 2
    flux = stretch * luminosity * wave**2 / _ANGSTROM_PER_S / area
    # A parabola through a spiky spectrum may dip below 0.
    mean = np.maximum((flux.reshape(n, m, N_NODES) * weights[band]).sum(axis=2), 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(-2.5 * np.log10(mean / _AB_ZERO_CGS), FAINTEST_MAG))


def _nodes(bands: Passbands) -> tuple[Array, Array]:
    """(n_bands, N_NODES) wavelengths, and the bands' weights of f_nu there."""
    nodes = np.linspace(bands.wave_angstrom[:, 0], bands.wave_angstrom[:, -1], N_NODES, axis=1)
    weights = np.zeros_like(nodes)
    for k, (fine, weight) in enumerate(zip(bands.wave_angstrom, bands.weight, strict=True)):
        place = (fine - fine[0]) / (fine[-1] - fine[0]) * (N_NODES - 1)
        first = np.minimum(2 * (place / 2).astype(np.int64), N_NODES - 3)
        s = place - first
        np.add.at(weights[k], first, weight * (s - 1.0) * (s - 2.0) / 2.0)
        np.add.at(weights[k], first + 1, weight * s * (2.0 - s))
        np.add.at(weights[k], first + 2, weight * s * (s - 1.0) / 2.0)
    return nodes, weights


def _check(
    sandbox: Sandbox,
    good: npt.NDArray[np.bool_],
    theta: Array,
    t_day: Array,
    wavelength_angstrom: Array,
    answer: Array,
    wanted: str,
) -> None:
    """Say at which parameters, time and wavelength an answer is none."""
    if good.all():
        return
    i, j = (int(k) for k in np.argwhere(~good)[0])
    names = (p.name for p in sandbox.model.parameters)
    at = ", ".join(f"{name}={value:.6g}" for name, value in zip(names, theta[i], strict=True))
    raise BadModel(
        f"{sandbox.model.function} is {answer[i, j]:g}, not {wanted}, at {at}, "
        f"t_day={t_day[i, j]:.6g}, wavelength_angstrom={wavelength_angstrom[i, j]:.6g}",
        where=f"model {sandbox.model.name}",
    )
