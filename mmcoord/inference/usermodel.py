"""Models from others as one plain Python file; here it is read, never run.

A file says what it is in literals (``PARAMETERS``, ``KIND`` ...) and defines one function::

    def absolute_magnitude(p, t_day, wavelength_angstrom): ...

What is said in literals is read from the syntax tree, so that names and priors are known, and
errors have lines, before a byte of the file is executed. The form is described in
docs/models.md; :mod:`mmcoord.inference.sandbox` executes the function.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mmcoord.errors import BadModel, ConfigError
from mmcoord.inference.models.base import Parameter
from mmcoord.inference.source import UserSource

__all__ = ["FUNCTIONS", "UserModel", "read_file", "read_source"]

Function = Literal["absolute_magnitude", "apparent_magnitude", "spectral_luminosity"]
FUNCTIONS: tuple[Function, ...] = (
    "absolute_magnitude",
    "apparent_magnitude",
    "spectral_luminosity",
)
_MAX_BYTES = 256 * 1024
_MAX_PARAMETERS = 20
_MAX_NAME = 40
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_LITERALS = ("DISTANCE", "KIND", "NAME", "PARAMETERS", "REFERENCE", "VECTORISED")
_PRIORS = {"uniform": 2, "log_uniform": 2, "normal": 4}
_FORMS = (
    '("uniform", low, high, unit), ("log_uniform", low, high, unit) or '
    '("normal", mean, std, low, high, unit)'
)
_RESERVED = ("distance", "sigma_sys")


@dataclass(frozen=True, slots=True)
class UserModel:
    """What a file says about itself."""

    source: UserSource
    reference: str
    is_kilonova: bool
    distance: Literal["event", "none", "own"]
    """As in :class:`mmcoord.inference.models.base.Model`."""
    parameters: tuple[Parameter, ...]
    function: Function
    vectorised: bool
    """The function takes all samples at once."""

    @property
    def name(self) -> str:
        """As it is called in jobs and tables."""
        return self.source.name


def read_file(path: str | Path, *, name: str | None = None) -> UserModel:
    """Read a model's file.

    Parameters
    ----------
    path : str or Path
    name : str, optional
        Default: the file's ``NAME``, else its file name without ``.py``.

    Raises
    ------
    BadModel
        Unreadable, too long, or not a model; the message names the line and what is wrong.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadModel(f"longer than {_MAX_BYTES // 1024} KiB", where=str(path))
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadModel(f"cannot be read: {error}", where=str(path)) from None
    return read_source(text, name=name, where=str(path), default_name=path.stem)


def read_source(
    text: str,
    *,
    name: str | None = None,
    version: int = 0,
    where: str = "model",
    default_name: str = "",
) -> UserModel:
    """Read a model's source text; nothing is executed.

    Parameters
    ----------
    text : str
    name : str, optional
        Overrides ``NAME`` in the text.
    version : int
        Of the store.
    where : str
        What error messages call the file.
    default_name : str
        Where neither ``name`` nor ``NAME`` is given.

    Raises
    ------
    BadModel
        The message names the line and what is wrong.
    """
    if len(text.encode(errors="surrogatepass")) > _MAX_BYTES:
        raise BadModel(f"longer than {_MAX_BYTES // 1024} KiB", where=where)
    tree = _tree(text, where)
    said = _Said(where, _literals(tree, where))
    chosen = name or said.text("NAME") or default_name
    if not _NAME.fullmatch(chosen):
        raise BadModel(
            f"{chosen!r} is not a model's name: lower case letters, digits and _, at most 40",
            where=where,
        )
    function = _function(tree, where)
    is_kilonova = said.choice("KIND", ("kilonova", "other"), "other") == "kilonova"
    default = "event" if is_kilonova else "own"
    if function == "apparent_magnitude":
        default = "none"
    distance: Any = said.choice("DISTANCE", ("event", "none", "own"), default)
    if (distance == "none") != (function == "apparent_magnitude"):
        raise BadModel(f"{function} and DISTANCE = {distance!r} contradict each other", where=where)
    docstring = (ast.get_docstring(tree) or "").strip().split("\n")[0]
    docstring = "".join(c for c in docstring if c.isprintable())
    return UserModel(
        source=UserSource(chosen, version, text),
        reference=said.text("REFERENCE") or docstring,
        is_kilonova=is_kilonova,
        distance=distance,
        parameters=_parameters(said),
        function=function,
        vectorised=said.flag("VECTORISED"),
    )


def _tree(text: str, where: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise BadModel(f"line {error.lineno}: not Python: {error.msg}", where=where) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise BadModel(f"not Python: {error}", where=where) from None


def _literals(tree: ast.Module, where: str) -> dict[str, ast.expr]:
    """The expressions assigned to the names that mean something, each at most once."""
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            targets: list[ast.expr] = [node.target]
            value = node.value
        elif isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id in _LITERALS:
                if target.id in found:
                    raise BadModel(f"line {node.lineno}: {target.id} is set twice", where=where)
                found[target.id] = value
    return found


def _function(tree: ast.Module, where: str) -> Function:
    defined = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    present: list[Function] = [name for name in FUNCTIONS if name in defined]
    if len(present) != 1:
        count = "none" if not present else f"{len(present)} ({', '.join(present)})"
        raise BadModel(
            f"defines {count} of the functions {', '.join(FUNCTIONS)}: one is needed", where=where
        )
    node = defined[present[0]]
    arguments = node.args
    positional = len(arguments.posonlyargs) + len(arguments.args)
    if positional - len(arguments.defaults) > 3 or (positional < 3 and not arguments.vararg):
        raise BadModel(
            f"line {node.lineno}: {present[0]} takes (p, t_day, wavelength_angstrom), "
            f"not {positional} arguments",
            where=where,
        )
    return present[0]


class _Said:
    """What the literals of a file say, with their lines."""

    def __init__(self, where: str, nodes: dict[str, ast.expr]) -> None:
        self.where = where
        self.nodes = nodes

    def bad(self, node: ast.AST, message: str) -> BadModel:
        return BadModel(f"line {getattr(node, 'lineno', '?')}: {message}", where=self.where)

    def value(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise self.bad(
                node, f"{ast.unparse(node)[:60]} must be plain numbers and strings"
            ) from None

    def text(self, key: str) -> str:
        if key not in self.nodes:
            return ""
        value = self.value(self.nodes[key])
        if not isinstance(value, str) or not value.isprintable():
            raise self.bad(self.nodes[key], f"{key} must be a string of printable characters")
        return value

    def flag(self, key: str) -> bool:
        if key not in self.nodes:
            return False
        value = self.value(self.nodes[key])
        if not isinstance(value, bool):
            raise self.bad(self.nodes[key], f"{key} must be True or False")
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.text(key)
        if value and value not in allowed:
            raise self.bad(self.nodes[key], f"{key} is {value!r}, none of {', '.join(allowed)}")
        return value or default


def _parameters(said: _Said) -> tuple[Parameter, ...]:
    node = said.nodes.get("PARAMETERS")
    if node is None:
        raise BadModel("defines no PARAMETERS", where=said.where)
    if not isinstance(node, ast.Dict) or None in node.keys:
        raise said.bad(node, f"PARAMETERS must be a dict of name: {_FORMS}")
    if not 1 <= len(node.keys) <= _MAX_PARAMETERS:
        raise said.bad(node, f"{len(node.keys)} parameters; there must be 1 to {_MAX_PARAMETERS}")
    found: dict[str, Parameter] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        assert key is not None
        name = said.value(key)
        # ASCII, because Python itself rewrites some other letters in p.name.
        good = isinstance(name, str) and name.isascii() and name.isidentifier()
        if not good or keyword.iskeyword(name) or len(name) > _MAX_NAME:
            raise said.bad(key, f"{name!r} is not a parameter's name")
        if name in found or name in _RESERVED:
            raise said.bad(
                key, f"parameter {name!r} is {'twice here' if name in found else 'ours'}"
            )
        found[name] = _parameter(said, name, value)
    return tuple(found.values())


def _parameter(said: _Said, name: str, node: ast.expr) -> Parameter:
    value = said.value(node)
    kind = value[0] if isinstance(value, (tuple, list)) and value else None
    if not isinstance(kind, str) or kind not in _PRIORS:
        raise said.bad(node, f"prior of {name!r} must be {_FORMS}")
    *numbers, unit = value[1:] or [None]
    if len(numbers) != _PRIORS[kind] or not isinstance(unit, str):
        raise said.bad(node, f"prior of {name!r} must be {_FORMS}")
    if not unit.isprintable() or len(unit) > _MAX_NAME:
        raise said.bad(node, f"prior of {name!r}: {unit[:_MAX_NAME]!r} is not a unit")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise said.bad(node, f"prior of {name!r}: {number!r} is not a number")
        if not math.isfinite(number):
            raise said.bad(node, f"prior of {name!r} is not proper: {number!r}")
    low, high = float(numbers[-2]), float(numbers[-1])
    mean, std = (float(numbers[0]), float(numbers[1])) if kind == "normal" else (0.0, 1.0)
    if std <= 0 or (kind == "normal" and not low <= mean <= high):
        raise said.bad(node, f"prior of {name!r}: std must be positive, mean inside the range")
    try:
        return Parameter(name, unit, low, high, kind, mean, std)  # type: ignore[arg-type]
    except ConfigError as error:
        raise said.bad(node, str(error)) from None
