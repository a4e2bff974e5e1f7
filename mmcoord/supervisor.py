"""Telling the service manager how we are (systemd's ``sd_notify`` protocol); nothing elsewhere."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

__all__ = ["keep_alive", "tell"]

_EVERY_S = 10.0


def tell(state: str) -> None:
    """Send ``READY=1``, ``WATCHDOG=1`` or ``STOPPING=1``; the manager need not be there."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux' abstract names begin with a zero byte
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.setblocking(False)  # a manager that does not read must not hold us up
        try:
            out.connect(address)
            out.sendall(state.encode())
        except OSError:
            return  # it will miss us soon enough, which is what it is for


def keep_alive(stop: threading.Event, is_well: Callable[[], bool]) -> None:
    """Say that we live for as long as that is true."""
    while not stop.is_set():
        if is_well():
            tell("WATCHDOG=1")
        stop.wait(_EVERY_S)
