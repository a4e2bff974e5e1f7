"""An engine process for tests: the execution of runs alone, as the daemon's thread does it."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from mmcoord.config import InferSettings
from mmcoord.stages.execution import Execution
from mmcoord.stages.executor import PoolExecutor
from mmcoord.store.database import Database
from tests.making import make_context


def main(url: str, folder: str, lease_s: str, workers: str) -> None:
    """Run until killed."""
    logging.basicConfig(level=logging.INFO)
    infer = InferSettings(lease_s=float(lease_s), workers=int(workers))
    ctx = make_context(Database(url), Path(folder), infer=infer)
    execution = Execution(PoolExecutor(int(workers)))
    while True:
        try:
            execution.recover(ctx)
            while True:
                if not execution.collect(ctx) + execution.dispatch(ctx):
                    time.sleep(0.05)
        except Exception:  # as the daemon's threads are started again
            logging.exception("started again")
            time.sleep(0.2)


if __name__ == "__main__":
    main(*sys.argv[1:])
