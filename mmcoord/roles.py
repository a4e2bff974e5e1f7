"""What one process of the service does, where several share a store.

Each of :data:`EXCLUSIVE` runs in one process at a time, which holds a lock of the store for it;
any number may show the page. Every process answers ``/healthz`` and ``/metrics``.
"""

from __future__ import annotations

from enum import StrEnum

from mmcoord.errors import ConfigError

__all__ = ["ALL", "EXCLUSIVE", "Role", "roles_of"]


class Role(StrEnum):
    """A part of the service."""

    LISTEN = "listen"
    """The listeners, maps behind links, the watchdog and those who tell its alarms."""
    STAGES = "stages"
    """Intake, match, infer, plan, checks of models; the pool of workers."""
    DELIVER = "deliver"
    """The outbox, and what observers answer at the sinks."""
    PAGE = "page"
    """The page and the API."""


ALL = frozenset(Role)
EXCLUSIVE = (Role.STAGES, Role.LISTEN, Role.DELIVER)
"""Two watchdogs would clear each other's alarms, and two outboxes send everything twice."""


def roles_of(text: str) -> frozenset[Role]:
    """Roles by their names, with commas between.

    Raises
    ------
    ConfigError
        No role, or an unknown one.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = sorted(set(names) - set(Role))
    if unknown or not names:
        raise ConfigError(
            f"--roles: {unknown[0] if unknown else ''!r} is none of {', '.join(Role)}"
        )
    return frozenset(Role(name) for name in names)
