"""The API over HTTPS in a process of its own, for tests of those who come from outside."""

from __future__ import annotations

import sys

import uvicorn

from mmcoord.api.app import create_app
from mmcoord.config import InferSettings, Settings
from mmcoord.store.database import Database


def main(url: str, port: str, certificate: str, key: str) -> None:
    """Serve until killed."""
    settings = Settings(infer=InferSettings(executor="none", lease_s=3.0))
    uvicorn.run(
        create_app(Database(url), settings, list),
        host="127.0.0.1",
        port=int(port),
        ssl_certfile=certificate,
        ssl_keyfile=key,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
