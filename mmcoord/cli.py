"""The ``mmcoord`` command: parse, call one function, print.

Exit codes: 0 good, 1 failed, 2 usage or configuration.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from sqlalchemy.exc import SQLAlchemyError

from mmcoord import cli_approvals, cli_claims
from mmcoord.cli_access import group_app, token_app
from mmcoord.cli_bank import bank_app
from mmcoord.cli_burst import classify, withdraw
from mmcoord.cli_common import ConfigOption, DbOption, JsonOption
from mmcoord.cli_common import context as _context
from mmcoord.cli_common import note as _note
from mmcoord.cli_common import pipeline as _pipeline
from mmcoord.cli_common import print_json as _print_json
from mmcoord.cli_common import settings_of as _settings
from mmcoord.cli_copies import backup, restore
from mmcoord.cli_data import data_app
from mmcoord.cli_fit import fit
from mmcoord.cli_galaxies import galaxies_app
from mmcoord.cli_model import model_app
from mmcoord.cli_practice import practice
from mmcoord.cli_replay import replay_event
from mmcoord.cli_rerun import rerun
from mmcoord.cli_triangulate import triangulate
from mmcoord.cli_worker import worker
from mmcoord.config import Settings, load_settings
from mmcoord.errors import ConfigError, MmcoordError

app = typer.Typer(
    name="mmcoord",
    help="Coordination of multimessenger follow-up: listen, match, infer once, plan, post.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
event_app = typer.Typer(help="What is known about events.", no_args_is_help=True)
app.add_typer(event_app, name="event")
app.add_typer(group_app, name="group")
app.add_typer(token_app, name="token")
cli_claims.register(app)
cli_approvals.register(app)
app.add_typer(bank_app, name="bank")
app.command()(fit)
app.command()(rerun)
app.command()(backup)
app.command()(restore)
app.command("worker")(worker)
app.command()(withdraw)
app.command()(practice)
app.add_typer(data_app, name="data")
app.command()(triangulate)
app.command()(classify)
app.add_typer(model_app, name="model")
app.add_typer(galaxies_app, name="galaxies")


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        print(f"mmcoord {version('mmcoord')}")
        raise typer.Exit


@app.callback()
def _of_all_commands(
    is_version_asked: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Print it and end."),
    ] = False,
) -> None:
    """What stands before a command."""


def main() -> NoReturn:
    """Entry point of the ``mmcoord`` command."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        code = app(standalone_mode=False)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except typer.Abort:
        sys.exit(1)
    except ConfigError as error:
        _die(f"mmcoord: {error}", 2)
    except (MmcoordError, ValueError, OSError, SQLAlchemyError) as error:
        _die(f"mmcoord: {error}", 1)
    except Exception as error:
        # click's own usage errors, which carry their exit code and message.
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):
            _die(f"mmcoord: {error.format_message()}", error.exit_code)
        raise
    sys.exit(code if isinstance(code, int) else 0)


def _die(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)


@app.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address of the page.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the page.")] = None,
    practice: Annotated[
        bool, typer.Option("--practice", help="Play a practice night in compressed time.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the practice night.")] = 1,
    roles: Annotated[
        str | None,
        typer.Option(help="Of listen,stages,deliver,page: those of this process; default: all."),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(help="Of the practice night; 2000 if not said.", min=2)
    ] = None,
) -> None:
    """Run the daemon with its API and web page."""
    from mmcoord.daemon import serve as run_daemon
    from mmcoord.practice import LIVE_CANDIDATES, live_feeder, practice_settings
    from mmcoord.roles import ALL, roles_of

    settings = load_settings(config)
    web = dataclasses.replace(
        settings.web, host=host or settings.web.host, port=port or settings.web.port
    )
    settings = dataclasses.replace(settings, web=web)
    if practice:
        settings = practice_settings(settings)
    feeder = live_feeder(seed, candidates or LIVE_CANDIDATES) if practice else None
    run_daemon(settings, feeder=feeder, roles=ALL if roles is None else roles_of(roles))


@app.command()
def replay(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files and folders of notices and tables.")
    ] = None,
    event: Annotated[
        str | None, typer.Option(help="Instead: a past event of the store, then and now.")
    ] = None,
    config: ConfigOption = None,
    db: DbOption = None,
    send: Annotated[
        bool, typer.Option("--send", help="Let real events reach production sinks again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Feed stored notices and candidates through the whole way and print a summary.

    Without --db the store is a temporary one and is gone afterwards. What is real is not sent
    to production sinks a second time, unless --send says so.

    With --event, what the store of --db received of that event and of the candidates matched
    to it goes through today's models and rules in a temporary store; what was done then is
    printed beside it, and the store itself is only read.
    """
    if (event is None) == (not paths):
        raise ConfigError("replay: either files and folders, or --event")
    if event is not None:
        replay_event(event, config, db, as_json)
        return
    assert paths is not None
    from mmcoord.replay import feed, messages
    from mmcoord.store.summary import summary

    with _pipeline(config, db, send_real=send) as (ctx, pipeline):
        stored = messages(paths, ctx.sources)
        _note(f"replay: {len(stored)} messages")
        new = feed(ctx, stored)
        _note(f"replay: {new} of them new to the store; working")
        pipeline.drain()
        with ctx.database.snapshot() as session:
            document = summary(session)
    if as_json:
        _print_json(document)
    else:
        _print_summary(document)


@app.command()
def match(
    skymap: Annotated[Path, typer.Argument(help="Sky map (FITS) or notice holding one.")],
    candidates: Annotated[Path, typer.Argument(help="CSV: id, ra, dec [, distance or z].")],
    out: Annotated[Path | None, typer.Option(help="CSV or Parquet, by its ending.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Cross-match a table of candidates with a sky map."""
    from listeners.igwn import SOURCE
    from mmcoord.records import Alert
    from skymaps import SkyMapError, load
    from skymaps.table import match_table

    content = skymap.read_bytes()
    if content[:1] == b"{":  # a notice that holds its map
        fits = next((r.skymap_fits for r in SOURCE.parse(content) if isinstance(r, Alert)), None)
        if fits is None:
            raise MmcoordError(f"{skymap}: the notice holds no map")
        content = fits

    def bad_row(line: int, reason: str) -> None:
        print(f"{candidates}:{line}: {reason}", file=sys.stderr)

    with _progress(candidates) as advance:
        try:
            found = match_table(
                load(content),
                candidates,
                out if out is not None else sys.stdout,
                on_bad_row=bad_row,
                on_progress=advance,
            )
        except SkyMapError as error:
            raise MmcoordError(str(error)) from error
    if as_json:
        print(json.dumps(dataclasses.asdict(found), allow_nan=False))


@app.command()
def plan(
    event: Annotated[str, typer.Argument(help="Event identifier.")],
    show: Annotated[
        str | None, typer.Option(help="Print the payload that this sink would get.")
    ] = None,
    why: Annotated[int, typer.Option(help="Give the reasons of the first so many targets.")] = 0,
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """The ranked plan of an event."""
    from mmcoord.preview import payloads
    from mmcoord.store import finding
    from mmcoord.store.summary import plan_document

    settings = _settings(config, db)
    with _context(settings) as ctx:
        if show is not None:
            with ctx.database.read() as session:
                event = finding.one(session, event)
            _print_json(payloads(ctx, event, show))
            return
        with ctx.database.read() as session:
            document = plan_document(session, finding.one(session, event))
    if as_json:
        _print_json(document)
        return
    print(f"{document['event']}, plan revision {document['revision']}")
    print(document["note"])
    for row in document["plan"]:
        factors = ", ".join(
            f"{name} {'?' if value is None else format(value, '.2g')}"
            for name, value in row["factors"].items()
        )
        where = f"{row['instrument']} {row['band']} {row['start']}" if row["instrument"] else "-"
        print(f"{row['rank']:>4}  {row['candidate']:<24} {row['score']:.3g}  {where}  ({factors})")
        for look in row.get("looks") or ():
            asked = f"{look['instrument']} {look['band']} {look['start']}"
            print(f"      then {asked} {look['exposure_s']:.0f} s ({look['role']})")
        for name, reason in row["reasons"].items() if row["rank"] <= why else ():
            print(f"        {name:<13} {reason}")
    for tile in document["tiles"]:
        asked = f"{tile['instrument']} {tile['band']} {tile['start']} {tile['exposure_s']:.0f} s"
        print(f"      {tile['tile_id']:<34} {tile['score']:.3g}  {asked}  ({tile['reason']})")


@event_app.command("list")
def event_list(
    config: ConfigOption = None, db: DbOption = None, as_json: JsonOption = False
) -> None:
    """All events, newest first."""
    from mmcoord.store.summary import events

    with _context(_settings(config, db)) as ctx, ctx.database.read() as session:
        found = events(session)
    if as_json:
        _print_json(found)
        return
    for event in found:
        first = event["plan"][0]["candidate"] if event["plan"] else "-"
        print(
            f"{event['id']:<14} {event['state']:<10} {event['alert_type']:<12} "
            f"{'practice ' if event['is_practice'] else ''}first target: {first}"
        )


@event_app.command("show")
def event_show(
    event: Annotated[str, typer.Argument(help="Identifier, or any other name of it.")],
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """One event: what is known, and the story of how it came to be known."""
    from mmcoord.store import finding
    from mmcoord.store.summary import event_document

    with _context(_settings(config, db)) as ctx, ctx.database.read() as session:
        documents = [event_document(session, found) for found in finding.find(session, event)]
    if not documents:
        raise MmcoordError(f"no event {event!r}")
    if as_json:
        _print_json(documents[0] if len(documents) == 1 else {"name": event, "events": documents})
        return
    for document in documents:
        _print_event(document)


def _print_event(document: dict[str, Any]) -> None:
    practice = ", practice" if document["is_practice"] else ""
    print(f"{document['id']}: {document['state']}, {document['alert_type']}{practice}")
    for line in document["names"]:
        print(f"  also {line['name']} ({line['learned_from']})")
    for line in document["linked"]:
        print(f"  see {line['event_id']}: {line['why']}")
    for line in document["circulars"]:
        print(f"  GCN circular {line['circular_id']}, {line['created_at']}: {line['subject']}")
    for entry in document["story"]:
        latency = f" ({entry['latency_s']:.2f} s)" if entry["latency_s"] is not None else ""
        print(f"{entry['at']}  {entry['what']:<12} {entry['text']}{latency}")


@app.command("dead-letters")
def dead_letters(
    ids: Annotated[list[int] | None, typer.Argument(help="Which; all when none is given.")] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Put their notices back into the inbox.")
    ] = False,
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """What could not be used, and why; --retry tries it again after a fix."""
    from mmcoord import deadletters

    with _context(_settings(config, db)) as ctx:
        if retry:
            with ctx.database.write() as session:
                again = deadletters.retry(session, ids or [], ctx.now())
            _note(f"{again} notices are pending again; a running daemon takes them up")
        with ctx.database.read() as session:
            found = [one for one in deadletters.letters(session) if not ids or one["id"] in ids]
    if as_json:
        _print_json(found)
        return
    for one in found:
        again_at = f" (tried again {one['retried_at']})" if one["retried_at"] else ""
        print(f"{one['id']:>6}  {one['at']}  {one['stage']:<8} {one['reason']}{again_at}")


@app.command("tns-seed")
def tns_seed(
    file: Annotated[Path, typer.Argument(help="tns_public_objects.csv, or the zip with it.")],
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read TNS' whole catalogue from a local file; after that its daily changes suffice."""
    from mmcoord.seed import seed_tns

    with _context(_settings(config, db)) as ctx:
        counts = seed_tns(ctx, file, _note)
    if as_json:
        _print_json(counts)
        return
    print(f"{counts['known_transients']} transients known; {counts['dead_letters']} dead letters")


@app.command("tns-get")
def tns_get(
    name: Annotated[str, typer.Argument(help="Its name: 2023ixf, SN 2023ixf, AT2017gfo.")],
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask TNS for one object now, and keep the answer. The quota is small: not for lists."""
    from mmcoord.seed import ask_tns

    with _context(_settings(config, db)) as ctx:
        found = ask_tns(ctx, name)
    if as_json:
        modified = found.modified_at.isoformat() if found.modified_at else None
        document = {
            key: getattr(found, key)
            for key in ("name", "identifier", "ra_deg", "dec_deg", "classification", "redshift")
        }
        _print_json({**document, "names": list(found.names), "modified_at": modified})
        return
    kind = found.classification or "not classified"
    redshift = f", z = {found.redshift:.4g}" if found.redshift is not None else ""
    print(f"{found.name} at {found.ra_deg:.6f} {found.dec_deg:+.6f} deg: {kind}{redshift}")


@app.command()
def alarms(
    everything: Annotated[
        bool, typer.Option("--all", help="Those that were cleared, too (the newest 500).")
    ] = False,
    test: Annotated[
        bool, typer.Option("--test", help="Tell every operator's sink that this is a test.")
    ] = False,
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """What an operator has to know: the alarms that stand (docs/alarms.md explains each)."""
    from mmcoord.store import alarms as stored

    if test:
        return _test_operators(_settings(config, db))
    with _context(_settings(config, db)) as ctx, ctx.database.read() as session:
        found = stored.alarms(session, 500) if everything else stored.open_alarms(session)
    if as_json:
        _print_json(
            [
                {
                    **dataclasses.asdict(one),
                    "raised_at": one.raised_at.isoformat(),
                    "cleared_at": one.cleared_at.isoformat() if one.cleared_at else None,
                }
                for one in found
            ]
        )
        return
    for one in found:
        cleared = f", cleared {one.cleared_at:%Y-%m-%d %H:%M:%S}" if one.cleared_at else ""
        print(f"{one.severity:<5} {one.key} (since {one.raised_at:%Y-%m-%d %H:%M:%S}{cleared})")
        print(f"      {one.text}")
    if not found:
        print("no alarm stands" if not everything else "there has been no alarm")


def _test_operators(settings: Settings) -> None:
    """A webhook can be tried only by posting."""
    from followup.sinks.base import Outcome
    from mmcoord.watchdog.telling import operators

    with _context(settings) as ctx:
        told = operators(ctx.settings, ctx.sinks)
        text = "TEST\nNothing is wrong: somebody tries whether alarms of mmcoord arrive here."
        answers = {
            name: sink.tell(text, key=f"alarm:test:{ctx.now().isoformat()}")
            for name, sink in told.items()
        }
    for name, answer in answers.items():
        print(f"{name}: {answer.outcome} {answer.detail}".rstrip())
    if not answers:
        raise MmcoordError("operators: none is named in the settings (docs/alarms.md)")
    if any(answer.outcome is not Outcome.SENT for answer in answers.values()):
        raise typer.Exit(1)


@app.command()
def doctor(config: ConfigOption = None, db: DbOption = None, as_json: JsonOption = False) -> None:
    """Check configuration, store, sources and sinks; say what is wrong and how to mend it."""
    from mmcoord.doctor import examine

    findings = examine(config, db)
    if as_json:
        _print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.good else 'BAD '} {finding.what}: {finding.text}")
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


# -- helpers -----------------------------------------------------------------------------


@contextmanager
def _progress(table: Path) -> Iterator[Callable[[int], None] | None]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=table.name, unit=" rows", unit_scale=True, file=sys.stderr) as bar:
        yield lambda rows: bar.update(rows - bar.n)


def _print_summary(document: dict[str, Any]) -> None:
    writer = csv.writer(sys.stdout, delimiter="\t")
    for event in document["events"]:
        print(
            f"{event['id']}: {event['state']}, {event['alerts']} alerts, "
            f"{event['candidates_matched']} candidates matched"
        )
        for row in event["plan"][:10]:
            writer.writerow(
                [row["rank"], row["candidate"], f"{row['score']:.3g}", row["p_kilonova"]]
            )
    print(f"runs {document['runs']}")
    print(f"deliveries {document['deliveries']}")
    print(f"dead letters {document['dead_letters']}, balanced: {document['ledger_balanced']}")


if __name__ == "__main__":
    main()
