"""``mmcoord worker``: do runs for a server elsewhere."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["worker"]


def worker(
    url: Annotated[str, typer.Option(help="Of the server, https://...")],
    token_file: Annotated[
        Path | None, typer.Option(help="Has the token (scope worker); default: MMCOORD_TOKEN.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Runs at a time.")] = 1,
    name: Annotated[str, typer.Option(help="Of this worker; default: the host's.")] = "",
    ca_file: Annotated[
        Path | None, typer.Option(help="Certificates to trust in place of the system's.")
    ] = None,
) -> None:
    """Take runs from a server over HTTPS, do them here, bring the results."""
    from mmcoord.worker import Worker, WorkerSettings, token_of

    logging.getLogger("mmcoord").setLevel(logging.INFO)
    found = Worker(
        WorkerSettings(
            url, token_of(token_file), jobs, name, str(ca_file) if ca_file is not None else None
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: found.stop())
    print(f"mmcoord worker: {jobs} at a time for {url}", flush=True)
    found.run()
