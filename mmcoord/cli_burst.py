"""``mmcoord withdraw`` and the commands about neutrino bursts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import httpx
import typer

from mmcoord.cli_common import ConfigOption, DbOption, JsonOption, print_json, settings_of, store

__all__ = ["classify", "withdraw"]


def withdraw(
    event: Annotated[str, typer.Argument(help="Any name of the event.")],
    reason: Annotated[str, typer.Option(help="Why; kept, and shown on the event's page.")],
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take an event back whose sender does not: plans and posts are withdrawn everywhere."""
    from mmcoord.store import finding
    from mmcoord.wiring import build_context
    from mmcoord.withdraw import withdraw as take_back

    settings = settings_of(config, db)
    with store(settings) as database, httpx.Client() as client:
        ctx = build_context(settings, database, client)
        with database.read() as session:
            event_id = finding.one(session, event)
        done = take_back(ctx, event_id, reason)
    if as_json:
        print_json({"event": event_id, "withdrawn": done})
    else:
        print(f"{event_id}: " + ("withdrawal received" if done else "was retracted already"))


def classify(
    counts: Annotated[
        list[Path], typer.Argument(help="Binned counts of one burst (JSON; docs/neutrinos.md).")
    ],
    alert: Annotated[
        list[Path] | None, typer.Option(help="SNEWS alert of it: how likely it is real at all.")
    ] = None,
    failed_fraction: Annotated[
        float, typer.Option(help="Share of collapses that make a black hole at once.")
    ] = 0.2,
    as_json: JsonOption = False,
) -> None:
    """Neutron star, black hole or noise, by the binned counts of a neutrino burst."""
    from mmcoord.errors import ConfigError
    from mmcoord.supernova.counts import read_counts
    from mmcoord.supernova.messages import assessment, read_times
    from mmcoord.supernova.series import weigh_series

    if not 0.0 < failed_fraction < 1.0:
        raise ConfigError("--failed-fraction: a share is between 0 and 1")
    series = read_counts((str(path), path.read_bytes()) for path in counts)
    real = 0.9
    if alert:
        burst = read_times((str(path), path.read_bytes()) for path in alert)
        real = float(assessment(burst)["probability_real"])
    found = weigh_series(
        series,
        {
            "noise": 1.0 - real,
            "core_collapse": real * (1.0 - failed_fraction),
            "failed": real * failed_fraction,
        },
    )
    document = {
        "detectors": [one.detector for one in series],
        "counts": [int(one.counts.sum()) for one in series],
        "prior_real": real,
        "probabilities": dict(found.probabilities),
        "determined": found.determined,
        "cut_off_s": found.cut_off_s,
        "cut_off_p": found.cut_off_p,
    }
    if as_json:
        print_json(document)
        return
    for name, probability in found.probabilities.items():
        print(f"{name:<15} {probability:.4f}")
    if not found.determined and found.probabilities["noise"] < 0.5:
        print("The two collapses are not told apart.")
    if found.cut_off_s is not None:
        print(
            f"The signal ends {found.cut_off_s:.2f} s after its start; were it a cooling neutron "
            f"star, so few counts would come after that with probability {found.cut_off_p:.2g}."
        )
