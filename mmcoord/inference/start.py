"""Where an update begins: the proposals of an earlier run, as a job carries them.

Light, like :mod:`.job`. Numbers are kept as 32-bit floats: a proposal only says where to look, and
the density that is sampled from is that of the numbers kept.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from mmcoord.inference.mixture import Mixture, logsumexp

__all__ = ["Proposal", "Start", "packed"]

_LARGEST = 1e6
"""Of any number in a mixture; in probit space means are below 10 and widths below 5."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """The mixture that stands for one model's posterior."""

    model: str
    axes: tuple[str, ...]
    """Names of the cube's axes."""
    content: str
    """base64 of little-endian floats: ln weights (k,), means (k, d), lower triangles of the
    Cholesky factors (k, d (d + 1)/2)."""

    def check(self) -> None:
        """Raise ``ValueError`` unless the content is a mixture in these axes."""
        d = len(self.axes)
        content = base64.b64decode(self.content, validate=True)
        row = 4 * (1 + d + d * (d + 1) // 2)
        if not content or len(content) % row:
            raise ValueError(f"no rows of {row} bytes")
        if not (np.abs(np.frombuffer(content, dtype="<f4")) < _LARGEST).all():
            raise ValueError("not finite, or larger than in any fit")
        if not (np.diagonal(self.mixture().cholesky, axis1=1, axis2=2) > 1 / _LARGEST).all():
            raise ValueError("widths of zero")

    def mixture(self) -> Mixture:
        """What was packed, to 32 bits."""
        d = len(self.axes)
        values = np.frombuffer(base64.b64decode(self.content), dtype="<f4").astype(np.float64)
        k = len(values) // (1 + d + d * (d + 1) // 2)
        log_weight, mean, lower = np.split(values, [k, k + k * d])
        cholesky = np.zeros((k, d, d))
        cholesky[:, *np.tril_indices(d)] = lower.reshape(k, -1)
        log_weight = log_weight - logsumexp(log_weight)  # rounding has left them off by 1e-7
        return Mixture(log_weight, mean.reshape(k, d), cholesky)


@dataclass(frozen=True, slots=True)
class Start:
    """An earlier run on fewer data of the same object, and what it found."""

    parent_key: str
    proposals: tuple[Proposal, ...]

    def of(self, model: str, axes: tuple[str, ...]) -> Mixture | None:
        """The earlier posterior of a model; None if there is none on the same axes."""
        for proposal in self.proposals:
            if (proposal.model, proposal.axes) == (model, axes):
                return proposal.mixture()
        return None


def packed(model: str, axes: tuple[str, ...], mixture: Mixture) -> Proposal:
    """A mixture as a proposal; the same numbers give the same text on every machine."""
    lower = mixture.cholesky[:, *np.tril_indices(len(axes))]
    values = np.concatenate([mixture.log_weight, mixture.mean.ravel(), lower.ravel()])
    return Proposal(model, axes, base64.b64encode(values.astype("<f4").tobytes()).decode())
