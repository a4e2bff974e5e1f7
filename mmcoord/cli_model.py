"""``mmcoord model``: light-curve models from others, checked, kept in versions, retired."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mmcoord.cli_common import (
    ConfigOption,
    DbOption,
    JsonOption,
    print_json,
    settings_of,
    store,
)

__all__ = ["model_app"]

model_app = typer.Typer(help="Light-curve models that groups add.", no_args_is_help=True)

RecoveryOption = Annotated[
    float,
    typer.Option(
        "--recovery-s", help="About how long fits to simulated light may take.", metavar="S"
    ),
]


@model_app.command("check")
def model_check(
    file: Annotated[Path, typer.Argument(help="A model's Python file.", dir_okay=False)],
    name: Annotated[str | None, typer.Option(help="Instead of the file's own name.")] = None,
    recovery_s: RecoveryOption = 120.0,
    as_json: JsonOption = False,
) -> None:
    """Try a model in the sandbox and say whether it would be accepted; nothing is stored."""
    from mmcoord.inference.conformance import examine
    from mmcoord.inference.usermodel import read_file

    report = examine(read_file(file, name=name), budget_s=recovery_s)
    if as_json:
        print_json(report.to_json())
    else:
        print(report.text())
    if not report.accepted:
        raise typer.Exit(1)


@model_app.command("add")
def model_add(
    file: Annotated[Path, typer.Argument(help="A model's Python file.", dir_okay=False)],
    name: Annotated[str | None, typer.Option(help="Instead of the file's own name.")] = None,
    by: Annotated[str | None, typer.Option(help="Who adds it; default: this user.")] = None,
    recovery_s: RecoveryOption = 120.0,
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a model and keep it as a new version of its name."""
    from mmcoord import usermodels
    from mmcoord.inference.conformance import examine
    from mmcoord.inference.usermodel import read_file

    model = read_file(file, name=name)
    usermodels.check_name(model)
    with store(settings_of(config, db)) as database:
        report = examine(model, budget_s=recovery_s)
        with database.write() as session:
            row = usermodels.add(session, model, report, by or getpass.getuser(), datetime.now(UTC))
            document = usermodels.document(session, f"{row.name}@{row.version}")
    if as_json:
        print_json(document)
    else:
        print(report.text())
        print(f"{document['name']}@{document['version']}: {document['state']}")
    if not report.accepted:
        raise typer.Exit(1)


@model_app.command("list")
def model_list(
    config: ConfigOption = None, db: DbOption = None, as_json: JsonOption = False
) -> None:
    """Installed models and every version of those that were added."""
    from mmcoord import usermodels
    from mmcoord.inference.models import registry

    with store(settings_of(config, db)) as database, database.read() as session:
        added = usermodels.listing(session)
    if as_json:
        print_json({"installed": list(registry.names()), "added": added})
        return
    for name in registry.names():
        print(f"{name:<28} installed")
    for row in added:
        label = f"{row['name']}@{row['version']}"
        print(f"{label:<28} {row['state']:<9} {row['uploaded_by']:<16} {row['added_at']}")


@model_app.command("show")
def model_show(
    name: Annotated[str, typer.Argument(help="Name, or name@version.")],
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """One added model: its checks and its text."""
    from mmcoord import usermodels

    with store(settings_of(config, db)) as database, database.read() as session:
        document = usermodels.document(session, name)
    if as_json:
        print_json(document)
        return
    source = document.pop("source")
    for check in document.pop("report")["checks"]:
        document[f"check {check['name']}"] = check["text"]
    for key, value in document.items():
        print(f"{key:>20}: {value}")
    # Shown, not obeyed: the text may hold anything.
    print("\n" + "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in source))


@model_app.command("retire")
def model_retire(
    name: Annotated[str, typer.Argument(help="Name (all its versions), or name@version.")],
    config: ConfigOption = None,
    db: DbOption = None,
) -> None:
    """Keep an added model from new runs; its versions and old runs stay."""
    from mmcoord import usermodels

    with store(settings_of(config, db)) as database, database.write() as session:
        versions = usermodels.retire(session, *usermodels.version_of(name))
    print(f"retired: {', '.join(f'version {v}' for v in versions) or 'nothing, it was not in use'}")
