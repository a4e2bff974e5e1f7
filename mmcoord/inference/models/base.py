"""What a model is: named parameters with priors, and magnitudes for many samples at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from mmcoord.errors import ConfigError
from mmcoord.inference.passbands import Passbands

__all__ = ["FAINTEST_MAG", "Array", "Magnitudes", "Model", "Parameter", "restrict"]

Array = npt.NDArray[np.float64]

FAINTEST_MAG = 60.0
"""Stands for "no light": models return nothing fainter and never infinity."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter and its prior on [low, high].

    ``uniform``; ``log_uniform``; ``normal``: Normal(mean, std) truncated to the range; or
    ``histogram``: ``weights`` (n,) between ``edges`` (n + 1,), flat within a bin, what lies
    outside of the range left out.

    Raises
    ------
    ConfigError
        An empty range, or a histogram that is none or holds nothing in the range.
    """

    name: str
    unit: str
    low: float
    high: float
    prior: Literal["histogram", "log_uniform", "normal", "uniform"] = "uniform"
    mean: float = 0.0
    std: float = 1.0
    edges: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.prior == "log_uniform" and self.low <= 0):
            raise ConfigError(f"parameter {self.name!r}: bad range [{self.low}, {self.high}]")
        if self.prior == "histogram" and not self._cumulative()[0][-1] > 0:
            raise ConfigError(
                f"parameter {self.name!r}: the histogram holds nothing in [{self.low}, {self.high}]"
            )

    def _cumulative(self) -> tuple[Array, Array]:
        """(cumulative weight, value) of the histogram at its edges within the range."""
        edges, weights = np.asarray(self.edges), np.asarray(self.weights)
        if not (
            len(edges) == len(weights) + 1 > 1
            and np.all(np.diff(edges) > 0)
            and np.all((weights >= 0) & np.isfinite(weights))
        ):
            raise ConfigError(f"parameter {self.name!r}: not a histogram")
        total = np.concatenate([[0.0], np.cumsum(weights)])
        inside = edges[(edges > self.low) & (edges < self.high)]
        value = np.concatenate([[self.low], inside, [self.high]])
        below = np.interp(value, edges, total)
        return below - below[0], value

    def from_unit(self, u: Array) -> Array:
        """Inverse cumulative prior: u in [0, 1] -> value."""
        if self.prior == "uniform":
            values = self.low + u * (self.high - self.low)
        elif self.prior == "log_uniform":
            values = np.exp(np.log(self.low) + u * np.log(self.high / self.low))
        elif self.prior == "histogram":
            below, value = self._cumulative()
            rises = np.concatenate([[True], np.diff(below) > 0])
            # Of an empty stretch keep its end, from which the next bin rises.
            keep = rises | np.append(rises[1:], False)
            values = np.interp(u * below[-1], below[keep], value[keep])
        else:
            from scipy.special import ndtr, ndtri

            below, above = ndtr((np.array([self.low, self.high]) - self.mean) / self.std)
            values = self.mean + self.std * ndtri(below + u * (above - below))
        return np.asarray(np.clip(values, self.low, self.high))


def restrict(own: Parameter, other: Parameter | None) -> Parameter:
    """``other`` in place of ``own``, within the range of ``own``; None: ``own``.

    Raises
    ------
    ConfigError
        Another unit, or the two have nothing in common.
    """
    if other is None:
        return own
    if other.unit != own.unit:
        raise ConfigError(
            f"parameter {own.name!r}: the prior is in {other.unit!r}, not {own.unit!r}"
        )
    return replace(other, low=max(own.low, other.low), high=min(own.high, other.high))


class Magnitudes(Protocol):
    """A model's one function, vectorised over samples."""

    def __call__(
        self,
        theta: Array,
        distance_mpc: Array,
        redshift: Array,
        t_day: Array,
        band: npt.NDArray[np.int64],
        bands: Passbands,
    ) -> Array:
        """AB magnitudes of n samples at m points.

        Parameters
        ----------
        theta : (n, n_parameters)
            In the order of ``Model.parameters``.
        distance_mpc, redshift : (n,)
            Of each sample.
        t_day : (m,)
            Observer's days since the event, increasing.
        band : (m,)
            Index of each point's band in ``bands``.

        Returns
        -------
        (n, m) magnitudes, Milky Way extinction of ``bands`` included; at most FAINTEST_MAG.
        """
        ...


@dataclass(frozen=True)
class Model:
    """A light-curve model, ready for the sampler, the screen and the planner."""

    name: str
    version: str
    reference: str
    parameters: tuple[Parameter, ...]
    magnitudes: Magnitudes
    is_kilonova: bool = False
    distance: Literal["event", "none", "own"] = "own"
    """``event``: lies at the event's distance. ``own``: an unrelated source, flat in log distance
    as a survey limited in magnitude finds them, unless the host's redshift is known. ``none``:
    the model speaks of apparent magnitudes."""
    derived: Mapping[str, tuple[str, Callable[[Array], Array]]] = field(default_factory=dict)
    """Name -> (unit, function of theta (n, n_parameters) giving (n,))."""

    def with_priors(self, priors: Iterable[Parameter]) -> Model:
        """The model with other priors, by parameter name, each within the model's own range.

        Raises
        ------
        ConfigError
            Another unit, or nothing of a prior lies in the range of the model.
        """
        new = {p.name: p for p in priors}
        return replace(
            self, parameters=tuple(restrict(p, new.get(p.name)) for p in self.parameters)
        )

    def theta(self, u: Array) -> Array:
        """Parameters from the unit cube: (n, n_parameters) -> (n, n_parameters)."""
        columns = [p.from_unit(u[:, k]) for k, p in enumerate(self.parameters)]
        return np.stack(columns, axis=1) if columns else np.empty((len(u), 0))
