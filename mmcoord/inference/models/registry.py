"""Which models exist: ours, and those that others add by entry points.

A model is found by the entry-point group ``mmcoord.models``: the entry point's name is the
model's name, its value a :class:`mmcoord.inference.models.base.Model`. Our own are always
there, installed or run from a checkout. Names are listed without importing any model.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from mmcoord.errors import ConfigError

if TYPE_CHECKING:
    from mmcoord.inference.models.base import Model

__all__ = ["default_names", "hash_with", "load", "names", "source_hash"]

_GROUP = "mmcoord.models"
_PACKAGE = Path(__file__).parents[1]

_OURS = {
    "villar17_1": "mmcoord.inference.models.villar17:ONE_COMPONENT",
    "villar17_2": "mmcoord.inference.models.villar17:TWO_COMPONENTS",
    "villar17_3": "mmcoord.inference.models.villar17:THREE_COMPONENTS",
    "nicholl21_bns": "mmcoord.inference.models.nicholl21:BNS",
    "nicholl21_bns_cocoon": "mmcoord.inference.models.nicholl21:BNS_COCOON",
    "nsbh": "mmcoord.inference.models.nsbh:NSBH",
    "metzger17": "mmcoord.inference.models.metzger17:METZGER17",
    "hotokezaka20": "mmcoord.inference.models.hotokezaka20:HOTOKEZAKA20",
    "afterglow": "mmcoord.inference.models.afterglow:AFTERGLOW",
    "shock_cooling": "mmcoord.inference.models.shock_cooling:SHOCK_COOLING",
    "fast_blackbody": "mmcoord.inference.models.blackbodies:FAST_BLACKBODY",
    "sn_ia": "mmcoord.inference.models.sn_ia:SN_IA",
    "sn_ibc": "mmcoord.inference.models.nickel:SN_IBC",
    "sn_iib": "mmcoord.inference.models.nickel:SN_IIB",
    "steady": "mmcoord.inference.models.blackbodies:STEADY",
}

_ON_REQUEST = frozenset(
    {
        "nicholl21_bns",
        "nicholl21_bns_cocoon",
        "nsbh",
        "metzger17",
        "hotokezaka20",
        "shock_cooling",
    }
)
"""Ours that "all" leaves out: they would multiply its time, and would split the kilonova's prior
among models of the same light. Name them to run them."""

_LIBRARIES = ("astropy", "extinction", "numba", "numpy", "pyphot", "scipy", "sncosmo", "speclite")
"""Whose versions can change a number."""


@functools.lru_cache(maxsize=1)
def _references() -> dict[str, str]:
    found = dict(_OURS)
    for point in importlib.metadata.entry_points(group=_GROUP):
        if found.get(point.name, point.value) != point.value:
            raise ConfigError(f"model {point.name!r} is offered by {point.value} and by ours")
        found[point.name] = point.value
    return found


def names() -> tuple[str, ...]:
    """Names of all models, sorted."""
    return tuple(sorted(_references()))


def default_names() -> tuple[str, ...]:
    """The models that "all" stands for, sorted; those that others add are among them."""
    return tuple(name for name in names() if name not in _ON_REQUEST)


@functools.lru_cache(maxsize=64)
def load(name: str) -> Model:
    """The model of that name.

    Raises
    ------
    ConfigError
        No such model, or what the entry point names is not a model.
    """
    from mmcoord.inference.models.base import Model

    module, attribute = _reference(name).split(":")
    model = getattr(importlib.import_module(module), attribute, None)
    if not isinstance(model, Model) or model.name != name:
        raise ConfigError(f"{module}:{attribute} is not a Model named {name!r}")
    return model


@functools.lru_cache(maxsize=64)
def source_hash(name: str) -> str:
    """sha256 of the engine's source, the model's source and the libraries' versions.

    It is part of every run key, so that a changed kernel never answers with an old result.
    Our model's version and priors are in the source, hence in the hash.

    Raises
    ------
    ConfigError
        No such model.
    """
    digest = hashlib.sha256(_engine_hash().encode())
    module = _reference(name).split(":")[0]
    if name not in _OURS:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise ConfigError(f"the source of model {name!r} ({module}) cannot be found")
        digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()


def hash_with(source: str) -> str:
    """As :func:`source_hash`, of a model that is given as its source text."""
    return hashlib.sha256(f"{_engine_hash()}{source}".encode()).hexdigest()


def _reference(name: str) -> str:
    try:
        return _references()[name]
    except KeyError:
        raise ConfigError(f"no model {name!r}: there are {', '.join(names())}") from None


@functools.lru_cache(maxsize=1)
def _engine_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    for library in _LIBRARIES:
        digest.update(f"{library}=={importlib.metadata.version(library)}".encode())
    return digest.hexdigest()
