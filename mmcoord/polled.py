"""From settings to listeners that pull: HTTP services by their feeds, and Pub/Sub."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, cast

from listeners.feed import Build, Cursor
from listeners.polling import HttpListener, PollSettings
from listeners.pubsub import PubSubListener, PubSubSettings, subscriber
from listeners.settings import ListenerStatus
from mmcoord.config import ListenerSettings, secret
from mmcoord.errors import ConfigError
from mmcoord.records import Notice
from mmcoord.stages.context import Context
from mmcoord.stages.intake import receive
from mmcoord.store.cursors import Place, stored_place

__all__ = ["build_http_listener", "build_pubsub_listener", "feed_options"]

_SECRETS = ("api_key", "password", "token")

OnStatus = Callable[[ListenerStatus], None]


def feed_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a connection with its secrets read from where they are.

    Raises
    ------
    ConfigError
        A secret that is not there, or one that is written into the configuration itself.
    """
    found = dict(options)
    for key in _SECRETS:
        if key in options:
            raise ConfigError(f"{key}: a secret does not belong in the file; use {key}_env")
        value = secret(options, key)
        if value is not None:
            found[key] = value
    return found


def build_http_listener(
    ctx: Context, name: str, settings: ListenerSettings, on_status: OnStatus
) -> HttpListener:
    """A listener that polls the feed of its source (entry points ``mmcoord.feeds``).

    Raises
    ------
    ConfigError
        The source has no feed, or options that it does not take.
    """
    builders = {point.name: point for point in entry_points(group="mmcoord.feeds")}
    if settings.source not in builders:
        raise ConfigError(
            f"listeners.{name}.source: {settings.source!r} cannot be polled; "
            f"over http there are {', '.join(sorted(builders))}"
        )
    build = cast(Build, builders[settings.source].load())
    try:
        feed = build(feed_options(settings.options))
    except (ConfigError, ValueError, TypeError) as error:
        raise ConfigError(f"listeners.{name}.options: {error}") from error

    def write(notices: Sequence[Notice], cursor: Cursor | None) -> None:
        receive(ctx, notices, Place(name, cursor) if cursor is not None else None)

    def load() -> Cursor | None:
        with ctx.database.read() as session:
            return stored_place(session, name)

    return HttpListener(PollSettings(name, settings.source), feed, write, load, on_status)


def build_pubsub_listener(
    ctx: Context, name: str, settings: ListenerSettings, on_status: OnStatus
) -> PubSubListener:
    """A listener that pulls a Pub/Sub subscription.

    Raises
    ------
    ConfigError
        No project or no subscription.
    """
    options = settings.options

    def write(notices: Sequence[Notice]) -> None:
        receive(ctx, notices)

    credentials = options.get("credentials_file")
    return PubSubListener(
        PubSubSettings(
            name=name,
            source=settings.source,
            project=str(options.get("project", "")),
            subscription=str(options.get("subscription", "")),
            batch_size=int(options.get("batch_size", 200)),
        ),
        lambda: subscriber(str(credentials) if credentials else None),
        write,
        on_status,
    )
