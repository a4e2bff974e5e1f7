"""``mmcoord rerun``: a new model on old events."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from mmcoord.cli_common import (
    ConfigOption,
    DbOption,
    JsonOption,
    print_json,
    settings_of,
    store,
    utc_moment,
)
from mmcoord.errors import ConfigError

__all__ = ["rerun"]

_ENDED = {"done", "failed"}


def rerun(
    model: Annotated[str, typer.Option(help="Models, with commas: nsbh, all, name@3 ...")],
    events: Annotated[str, typer.Option(help="Event ids with commas, or 'all'.")],
    since: Annotated[
        str | None, typer.Option(help="Only events since then (ISO, UTC).", metavar="TIME")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would cost; queue nothing.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Wait, and show how far it is.")] = False,
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a model on the candidates of old events, behind everything else in the queue.

    The daemon executes the runs. Asking again queues nothing twice and shows how far they are;
    old runs stay.
    """
    from mmcoord.rerun import gather, queue

    names = None if events == "all" else tuple(e for e in events.split(",") if e)
    models = tuple(m for m in model.split(",") if m)
    settings = settings_of(config, db)
    with store(settings) as database:

        def now_at() -> Any:
            with database.read() as session:
                return gather(session, settings.infer, models, names, _time(since))

        found = now_at()
        queued = 0
        if not dry_run:
            with database.write() as session:
                queued = queue(session, found, datetime.now(UTC))
        _tell(found, queued, dry_run=dry_run, as_json=as_json and not watch)
        while watch and not dry_run:
            found = now_at()
            print(", ".join(f"{n} {state}" for state, n in found.counts.items()), flush=True)
            if set(found.counts) <= _ENDED:
                break
            time.sleep(5.0)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return utc_moment(text)
    except ValueError:
        raise ConfigError(f"--since: {text!r} is no ISO time") from None


def _tell(found: Any, queued: int, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "queued": queued,
                "runs": found.counts,
                "expected_cpu_s": round(found.expected_cpu_s, 1),
                "dry_run": dry_run,
                "skipped": list(found.skipped),
                "run_keys": sorted(found.keys.values()),
            }
        )
        return
    for line in found.skipped:
        print(f"left out: {line}")
    there = ", ".join(f"{n} {state}" for state, n in found.counts.items()) or "no candidates"
    cost = f"about {found.expected_cpu_s:.0f} CPU s"
    print(f"{there}; {'would queue' if dry_run else 'queued'} {len(found.new)}, {cost}")
