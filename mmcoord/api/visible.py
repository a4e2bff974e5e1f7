"""Which runs a caller sees: every route about a run asks here."""

from __future__ import annotations

from mmcoord.access import Scope
from mmcoord.api.auth import Caller
from mmcoord.api.service import Service
from mmcoord.errors import UnknownRecord
from mmcoord.store import views_log, views_runs
from mmcoord.store.views_log import RunDetail
from mmcoord.store.views_runs import RunHead

__all__ = ["group_of", "run_detail", "run_head"]


def group_of(who: Caller | None) -> str | None:
    """The group whose private runs the caller may see."""
    return who.group if who is not None and Scope.READ in who.scopes else None


def run_head(service: Service, who: Caller | None, run_key: str) -> RunHead:
    """How a run stands.

    Raises
    ------
    UnknownRecord
        No such run, or not one that the caller may see: nobody can tell which.
    """
    with service.read() as session:
        found = views_runs.head(session, run_key, group_of(who))
    if found is None:
        raise UnknownRecord(f"run {run_key!r} is not known")
    return found


def run_detail(service: Service, who: Caller | None, run_key: str) -> RunDetail:
    """A run with its summary and light curve; raises as :func:`run_head`."""
    with service.read() as session:
        found = views_log.run(session, run_key, group_of(who))
    if found is None:
        raise UnknownRecord(f"run {run_key!r} is not known")
    return found
