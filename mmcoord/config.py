"""Settings: one TOML file, the environment over it, secrets only from environment or files.

Every field has a safe default: with no file at all mmcoord runs on an embedded SQLite
store, listens to nothing outside, and delivers to a folder of its own as a practice sink.

The environment names a field by its path: ``MMCOORD_DATABASE_URL``,
``MMCOORD_WEB__PORT``. A secret is never a literal in the file: ``password_env = "NAME"`` or
``password_file = "PATH"`` says where it is.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from followup.claims import ClaimTimes
from listeners.late_map import MAX_FILE_BYTES
from listeners.vetoes import Vetoes
from mmcoord.dask_settings import DaskSettings
from mmcoord.errors import ConfigError
from mmcoord.fetching import HOSTS, Policy, is_host
from mmcoord.watchdog.settings import WatchdogSettings

__all__ = [
    "WEATHER",
    "BurstSettings",
    "FetchSettings",
    "InferSettings",
    "ListenerSettings",
    "MatchSettings",
    "PlanSettings",
    "Settings",
    "SinkSettings",
    "SlackSettings",
    "WebSettings",
    "is_address",
    "load_settings",
    "secret",
]

_NOT_SETTINGS = (
    "MMCOORD_CHROMIUM",
    "MMCOORD_KAFKA_JARS",
    "MMCOORD_SHARED",
    "MMCOORD_TOKEN",
    "MMCOORD_TOM_CACHE",
    "MMCOORD_URL",
)
"""Variables of the project's own tests, and those of whoever uses its client."""
_OFF = ("false", "off", "no", "none")
"""What switches off a number that may be absent: TOML has no null."""
WEATHER = "weather"
"""Name of the listener that ``plan.weather`` makes, and of its source."""
_SECRET_WORDS = ("api_key", "password", "token", "secret", "webhook")


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The page and the HTTP API."""

    host: str = "127.0.0.1"
    """Address that the page answers on; ``0.0.0.0``: every one of the machine."""
    port: int = 8765
    """Port of the page and the API."""


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """Maps behind links: whether, from where, how long."""

    enabled: bool = True
    """Whether maps behind links are fetched at all."""
    hosts: tuple[str, ...] = HOSTS
    """The only hosts that are ever asked, and linked to on the page."""
    more_hosts: tuple[str, ...] = ()
    """Further ones, beside ``hosts``."""
    retry_after_s: tuple[float, ...] = (30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
    """Waits between attempts; the last one repeats."""
    give_up_after_h: float = 24.0
    """Then a dead letter says that the map was not to be had."""
    timeout_s: float = 60.0
    """For one request."""
    max_bytes: int = 32 * 2**20
    """Largest file, as sent."""
    max_expanded_bytes: int = 400_000_000
    """Largest file after undoing gzip."""

    def __post_init__(self) -> None:
        for host in (*self.hosts, *self.more_hosts):
            if not is_host(host):
                raise ConfigError(f"fetch: {host!r} is not a host name in lower case")
        if not self.retry_after_s or min(self.retry_after_s) <= 0:
            raise ConfigError("fetch: retry_after_s: at least one wait is needed, all positive")
        if self.give_up_after_h <= 0 or self.timeout_s <= 0:
            raise ConfigError("fetch: give_up_after_h and timeout_s are positive")
        if not 0 < self.max_bytes <= MAX_FILE_BYTES:
            raise ConfigError(f"fetch: max_bytes: not in 1 to {MAX_FILE_BYTES}")

    @property
    def policy(self) -> Policy:
        """What the door for links is told."""
        return Policy(
            frozenset({*self.hosts, *self.more_hosts}),
            self.timeout_s,
            self.max_bytes,
            self.max_expanded_bytes,
        )


@dataclass(frozen=True, slots=True)
class MatchSettings:
    """Which candidates count as matched."""

    max_credible_level: float = 0.99
    """2D credible level out to which a match is kept."""
    window_before_day: float = 0.1
    """A first detection this long before the event is still "at" the event."""
    window_after_day: float = 14.0
    """Follow-up window of the kilonova class: later first detections are unrelated."""
    late_day: float = 30.0
    """How long after its window an event still takes photometry that comes late. Then its map
    leaves the memory; a new revision of the event is matched all the same."""


@dataclass(frozen=True, slots=True)
class InferSettings:
    """When and how inference runs."""

    models: str = "all"
    """Which models compete: ``all``, or names with commas."""
    screen_threshold: float = 0.03
    """Screen probability from which a full inference is worth its cost. What has passed once is
    dropped only below a tenth of it, so that one odd point does not end a good candidate."""
    debounce_s: float = 20.0
    """Wait for more photometry of the same object before a run."""
    base_rate: float = 0.01
    """Share of kilonovae among new candidates in a localization: P(kilonova) before looking."""
    bank_dir: str = ""
    """Where the screening bank is kept; empty: the user's cache directory."""
    executor: str = "pool"
    """``pool``: processes of this machine; ``dask``; ``none``: only workers that come for runs."""
    workers: int = 0
    """Processes of the pool; 0: one per core."""
    dask: DaskSettings = field(default_factory=DaskSettings)
    seed: int = 1
    """Of the sampler: the same seed, the same posterior."""
    messengers: tuple[str, ...] = ("GW",)
    """Whose events start inference and plans; the others are stored and matched."""
    low_significance: bool = False
    """Whether events below the significance threshold start inference and plans."""
    max_attempts: int = 3
    """A run that has failed so often is not tried again."""
    lease_s: float = 60.0
    """For so long a run belongs to who has taken it, without a heartbeat."""

    def __post_init__(self) -> None:
        if self.executor not in ("pool", "dask", "none"):
            raise ConfigError(f"infer: executor: {self.executor!r} is not pool, dask or none")
        if not self.lease_s > 0:
            raise ConfigError("infer: lease_s is positive")
        if not 0.0 < self.base_rate < 1.0:
            raise ConfigError(f"infer: base_rate: {self.base_rate!r} is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """The ranked plan."""

    debounce_s: float = 1.0
    """Wait for more news of the same event before a plan."""
    max_rows: int = 100
    """Targets kept of each plan."""
    post_top: int = 10
    """How many targets of a plan revision are delivered."""
    catalogue: str | None = None
    """TOML file of sites and instruments over the built-in one."""
    instruments: tuple[str, ...] = ()
    """Names of the instruments that may be asked; empty: those that the catalogue marks so."""
    weather: str | None = None
    """JSON of the weather at the sites: a file that is read at each plan, or an https address
    that the service asks again and again; absent: nothing is known."""
    tiles: int = 20
    """Fields of each wide camera that a plan may ask for; 0: no tiles."""
    tile_field_deg2: float = 1.0
    """From this field on a camera is wide, and from this 90 % area on a map is tiled."""
    tile_hours: float = 48.0
    """Tiles are asked for while the event is younger."""
    cadence_targets: int = 3
    """So many undecided targets are offered further looks: another colour, and both again."""
    cadence_gap_h: float = 4.0
    """From a first look to the same again."""

    def __post_init__(self) -> None:
        if self.tiles < 0 or self.cadence_targets < 0:
            raise ConfigError("plan: tiles and cadence_targets are not negative")
        if not (self.tile_field_deg2 > 0 and self.tile_hours > 0 and self.cadence_gap_h > 0):
            raise ConfigError("plan: tile_field_deg2, tile_hours and cadence_gap_h are positive")


@dataclass(frozen=True, slots=True)
class BurstSettings:
    """Bursts of supernova neutrinos."""

    detectors: str | None = None
    """TOML file of detectors over the built-in ones (``skymaps/detectors.toml`` has the shape)."""
    red_supergiants: str | None = None
    """Catalogue of Healy et al. 2024; default: where ``mmcoord data get rsg`` puts it."""


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """One connection to a broker."""

    transport: str
    """``gcn``, ``scimma``, ``kafka``, ``http`` or ``pubsub``."""
    source: str
    """Which listener (entry point ``mmcoord.listeners``) reads the payloads."""
    topics: tuple[str, ...] = ()
    """For Kafka: at least one."""
    group_id: str = ""
    """For Kafka: needed."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Connection settings of the transport (``bootstrap_servers``, ``client_id`` ...)."""


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """One destination."""

    kind: str
    """Which sink (entry point ``mmcoord.sinks``)."""
    practice: bool = True
    """A practice sink takes practice events only; a production sink refuses them."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the sink itself takes (``url``, ``token_env``, ``folder`` ...)."""
    plans: bool = True
    """Whether plans are delivered there; false: it is for the operators alone."""


@dataclass(frozen=True, slots=True)
class SlackSettings:
    """Buttons in Slack messages: what Slack signs, and for whom its users speak."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """``signing_secret_env`` or ``signing_secret_file``: of the Slack app."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Slack user or team id -> our group; whoever is in neither cannot press buttons."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that an operator may set."""

    data_dir: str = "var"
    """Folder of the embedded store and of the default outbox."""
    database_url: str = ""
    """Empty: SQLite in ``data_dir``."""
    clock: str = "wall"
    """``wall``, or ``data``: plans are made for the time of the newest data (replays)."""
    send_real: bool = True
    """Whether real events go to production sinks; a replay does not repeat what was said."""
    page_url: str = ""
    """Address of the page as others reach it, for links in messages."""
    trace_endpoint: str = ""
    """Collector of traces (OTLP over HTTP, ``http://HOST:4318/v1/traces``); empty: none."""
    web: WebSettings = field(default_factory=WebSettings)
    vetoes: Vetoes = field(default_factory=Vetoes)
    """Which candidates are left out before they are stored."""
    fetch: FetchSettings = field(default_factory=FetchSettings)
    operators: tuple[str, ...] = ()
    """Names of the sinks that are told of alarms."""
    watchdog: WatchdogSettings = field(default_factory=WatchdogSettings)
    """When an alarm is raised."""
    match: MatchSettings = field(default_factory=MatchSettings)
    infer: InferSettings = field(default_factory=InferSettings)
    plan: PlanSettings = field(default_factory=PlanSettings)
    bursts: BurstSettings = field(default_factory=BurstSettings)
    claims: ClaimTimes = field(default_factory=ClaimTimes)
    """How long the claims of observers stand."""
    hear_every_s: float = 30.0
    """How often services outside are asked what observers say there."""
    policy: str = ""
    """Rule file that says what is published without asking a person; empty: nothing is."""
    slack: SlackSettings = field(default_factory=SlackSettings)
    listeners: Mapping[str, ListenerSettings] = field(default_factory=dict)
    sinks: Mapping[str, SinkSettings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.clock not in ("wall", "data"):
            raise ConfigError(f"clock: {self.clock!r} is neither 'wall' nor 'data'")
        if self.plan.weather and is_address(self.plan.weather) and WEATHER in self.listeners:
            raise ConfigError(f"listeners.{WEATHER}: plan.weather makes a listener of that name")

    @property
    def heard(self) -> Mapping[str, ListenerSettings]:
        """The listeners, with the one that ``plan.weather`` makes where it is an address."""
        where = self.plan.weather
        if not where or not is_address(where):
            return self.listeners
        asked = ListenerSettings("http", WEATHER, options={"url": where})
        return {**self.listeners, WEATHER: asked}

    @property
    def fetches(self) -> bool:
        """Whether maps behind links are fetched; a replay asks nobody for anything."""
        return self.fetch.enabled and self.clock == "wall"

    @property
    def url(self) -> str:
        """The store's URL."""
        return self.database_url or f"sqlite:///{Path(self.data_dir).absolute() / 'mmcoord.db'}"


def is_address(where: str) -> bool:
    """Whether this is something to be asked over HTTP, and no file."""
    return where.startswith(("http://", "https://"))


def load_settings(
    path: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Settings from a TOML file (optional) with the environment over it.

    Raises
    ------
    ConfigError
        Unreadable file, unknown key, wrong type, or a secret written into the file.
    """
    document: dict[str, Any] = {}
    name = "environment"
    if path is not None:
        name = str(path)
        try:
            document = tomllib.loads(Path(path).read_text())
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: {error}") from error
    _no_literal_secrets(document, name)
    _overlay(document, environ)
    settings = _build(Settings, document, name)
    assert isinstance(settings, Settings)
    return settings


def secret(
    options: Mapping[str, Any], key: str, environ: Mapping[str, str] = os.environ
) -> str | None:
    """The value of ``key`` from ``{key}_env`` or ``{key}_file``; None where neither is set."""
    if variable := options.get(f"{key}_env"):
        if variable not in environ:
            raise ConfigError(f"{key}_env: environment variable {variable} is not set")
        return environ[variable]
    if file := options.get(f"{key}_file"):
        try:
            return Path(file).read_text().strip()
        except OSError as error:
            raise ConfigError(f"{key}_file: {file}: {error.strerror}") from error
    return None


def _no_literal_secrets(document: Mapping[str, Any], where: str) -> None:
    for key, value in document.items():
        if isinstance(value, Mapping):
            _no_literal_secrets(value, f"{where}: {key}")
        elif key.endswith(_SECRET_WORDS) and isinstance(value, str):
            raise ConfigError(
                f"{where}: {key}: a secret does not belong in the file; use {key}_env or {key}_file"
            )


def _overlay(document: dict[str, Any], environ: Mapping[str, str]) -> None:
    for variable, text in environ.items():
        if not variable.startswith("MMCOORD_") or variable in _NOT_SETTINGS:
            continue
        *tables, key = variable.removeprefix("MMCOORD_").lower().split("__")
        target = document
        for table in tables:
            below = target.setdefault(table, {})
            if not isinstance(below, dict):
                raise ConfigError(f"environment: {variable}: {table!r} is a value, not a table")
            target = below
        target[key] = text


def _build(kind: type[Any], document: Mapping[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    fields = {item.name for item in dataclasses.fields(kind)}
    unknown = sorted(set(document) - fields)
    if unknown:
        raise ConfigError(
            f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(fields))}"
        )
    values = {
        key: _convert(hints[key], value, f"{where}: {key}") for key, value in document.items()
    }
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a table")
        return _build(hint, value, where)
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin is types.UnionType:
        kind = next(a for a in arguments if a is not type(None))
        if kind in (int, float) and (value is False or str(value).lower() in _OFF):
            return None
        return _convert(kind, value, where)
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        return tuple(_convert(arguments[0], item, where) for item in items)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a table")
        if dataclasses.is_dataclass(arguments[1]):
            return {k: _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
        return dict(value)
    return _scalar(hint, value, where)


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is bool and isinstance(value, str):
        if value.lower() in ("1", "true", "yes", "on"):
            return True
        if value.lower() in ("0", "false", "no", "off"):
            return False
    if hint in (int, float) and isinstance(value, str):
        try:
            return hint(value)
        except ValueError:
            pass
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: {value!r} is not a {hint.__name__}")
    return value
