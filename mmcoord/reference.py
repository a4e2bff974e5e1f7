"""Reference pages made from the code: every setting, every operation of the HTTP API.

``python -m mmcoord.reference`` writes ``docs/configuration.md``; the page of the API is made
whenever the site is built (``docs/hooks.py``).
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import tempfile
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmcoord.config import Settings

__all__ = ["Setting", "api_page", "configuration_page", "openapi", "settings"]

_HEAD = """# Configuration reference

<!-- Made by `python -m mmcoord.reference` from the settings' own classes; do not edit. -->

Every key of the TOML file that `--config` names. All have a default: with no file mmcoord runs on
an embedded store, listens to nothing and posts nothing. The environment goes before the file. What
a listener or a sink takes under `options` is in [sources](sources.md) and [sinks](sinks.md); a
secret is never in the file ([how](running.md#production)).
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One key of the TOML file."""

    table: str
    """Dotted name of its table; empty: the top of the file. ``NAME`` stands for any name."""
    key: str
    kind: str
    default: str
    """As TOML; ``needed`` where there is none."""
    about: str

    @property
    def variable(self) -> str:
        """The environment variable that goes before it."""
        path = [part for part in self.table.split(".") if part]
        return "MMCOORD_" + "__".join([*path, self.key]).upper()


def settings() -> list[Setting]:
    """All settings in the order of their classes."""
    return [one for _, _, rows in _tables(Settings, "") for one in rows]


def configuration_page() -> str:
    """``docs/configuration.md``, in Markdown."""
    parts = [_HEAD]
    for table, about, rows in _tables(Settings, ""):
        parts.append(f"\n## {f'[{table}]' if table else 'Top of the file'}\n\n{about}\n")
        parts.append("\n| key | type | default | environment | meaning |\n|---|---|---|---|---|")
        parts += [
            f"\n| `{row.key}` | {row.kind} | {_code(row.default)} | `{row.variable}` "
            f"| {_cell(row.about)} |"
            for row in rows
        ]
        parts.append("\n")
    return "".join(parts)


def openapi() -> dict[str, Any]:
    """The description of the HTTP API that a running daemon gives."""
    from mmcoord.api.app import create_app
    from mmcoord.store.database import Database

    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/unused.db")
        try:
            document: dict[str, Any] = create_app(database, Settings(), list).openapi()
        finally:
            database.close()
    return document


def api_page(document: Mapping[str, Any]) -> str:
    """The operations of an OpenAPI document under ``/api``, in Markdown."""
    lines = [
        "# Operations of the API",
        "",
        "Made from the code when this site is built. The same as JSON:",
        "[openapi.json](openapi.json), or `/api/v1/openapi.json` of a running daemon.",
        "Examples: [the API](api.md).",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines += ["", f"## {method.upper()} {path}", "", operation.get("description", "")]
            lines += _parameters(operation.get("parameters", []))
            lines += ["", "| status | answer |", "|---|---|"]
            for status, answer in operation["responses"].items():
                lines.append(f"| {status} | {_cell(answer['description'])}{_shape(answer)} |")
    return "\n".join(lines) + "\n"


def _parameters(found: list[dict[str, Any]]) -> list[str]:
    if not found:
        return []
    rows = [
        f"| `{one['name']}` | {one['in']} | {'yes' if one.get('required') else 'no'} "
        f"| {_cell(one.get('description', ''))} |"
        for one in found
    ]
    return ["", "| parameter | in | needed | meaning |", "|---|---|---|---|", *rows]


def _shape(answer: Mapping[str, Any]) -> str:
    for content in answer.get("content", {}).values():
        if reference := content.get("schema", {}).get("$ref"):
            return f" (`{reference.rsplit('/', 1)[1]}`)"
    return ""


def _tables(kind: type[Any], table: str) -> Iterator[tuple[str, str, list[Setting]]]:
    """(name, what it is, its keys) of a settings class and of those within it."""
    hints = typing.get_type_hints(kind)
    about = _attribute_docs(kind)
    rows: list[Setting] = []
    below: list[tuple[Any, str]] = []
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        name = f"{table}.{field.name}" if table else field.name
        arguments = typing.get_args(hint)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            below.append((hint, name))
        elif len(arguments) == 2 and dataclasses.is_dataclass(arguments[1]):
            below.append((arguments[1], f"{name}.NAME"))
        else:
            text = about.get(field.name, "")
            rows.append(Setting(table, field.name, _kind(hint), _default(field), text))
    head = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0]
    yield table, " ".join(head.split()), rows
    for one, name in below:
        yield from _tables(one, name)


def _attribute_docs(kind: type[Any]) -> dict[str, str]:
    """The string under each attribute of a class."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(node, ast.ClassDef)
    return {
        first.target.id: " ".join(ast.literal_eval(second.value).split())
        for first, second in zip(node.body, node.body[1:], strict=False)
        if isinstance(first, ast.AnnAssign)
        and isinstance(first.target, ast.Name)
        and isinstance(second, ast.Expr)
        and isinstance(second.value, ast.Constant)
    }


def _kind(hint: Any) -> str:
    arguments = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        inner = next(one for one in arguments if one is not type(None))
        return (
            f"{_kind(inner)} or `false`" if inner in (int, float) else f"{_kind(inner)}, optional"
        )
    if typing.get_origin(hint) is tuple:
        return f"list of {_kind(arguments[0])}"
    names = {str: "text", bool: "true or false", int: "whole number", float: "number"}
    return names.get(hint, "table")


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return _toml(field.default_factory())
    return "needed" if field.default is dataclasses.MISSING else _toml(field.default)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Mapping):
        return "{}"
    return "none" if value is None else f"{value}"


def _code(default: str) -> str:
    return default if default in ("needed", "none") else f"`{default}`"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("``", "`").split())


def _main() -> None:
    page = Path(__file__).parents[1] / "docs" / "configuration.md"
    page.write_text(configuration_page(), encoding="utf-8")
    sys.stdout.write(f"{page}\n")


if __name__ == "__main__":
    _main()
