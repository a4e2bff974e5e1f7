"""The domain's nouns: what listeners produce, stages exchange and sinks receive.

Conventions, stated once for all of them:

* angles are degrees, ICRS; right ascension in [0, 360), declination in [-90, 90];
* ``datetime`` values are timezone-aware UTC (alerts are issued in UTC);
* observation times are ``obs_mjd_tai``: midpoint MJD on the TAI scale, as LSST sends them;
* distances are luminosity distances in Mpc; false-alarm rates are in Hz;
* magnitudes are AB; probabilities and credible levels are in [0, 1];
* ``None`` means "not known", which is never the same as "no" or zero.

Records are frozen: a correction is a new record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from mmcoord.elsewhere import Elsewhere
from mmcoord.errors import BadCandidate, BadNotice, BadPhotometry
from mmcoord.weather import Weather

__all__ = [
    "Alert",
    "AlertType",
    "Candidate",
    "Circular",
    "ErrorRegion",
    "EventState",
    "ExternalCoincidence",
    "KnownTransient",
    "LateMap",
    "Match",
    "Messenger",
    "Notice",
    "Outgoing",
    "OutgoingKind",
    "ParsedRecord",
    "Photometry",
    "PlanLook",
    "PlanRow",
    "PlanTile",
    "Vetoed",
    "Withdrawal",
]

_MAX_ID = 256
"""Longest identifier; they are keys in the store."""
_MJD_RANGE = (0.0, 100_000.0)
"""1858 to 2132: nobody observed outside it."""
_MAG_RANGE = (-50.0, 50.0)
_YEARS = (1970, 2132)

_EMPTY: Mapping[str, Any] = MappingProxyType({})


class AlertType(StrEnum):
    """LVK alert types, in the order in which one supersedes another at equal time."""

    EARLYWARNING = "EARLYWARNING"
    PRELIMINARY = "PRELIMINARY"
    INITIAL = "INITIAL"
    UPDATE = "UPDATE"
    RETRACTION = "RETRACTION"

    @property
    def rank(self) -> int:
        """Position in the sequence; breaks ties of ``time_created`` (1 s precision)."""
        return list(AlertType).index(self)


class Messenger(StrEnum):
    """Which messenger an event was first seen in."""

    GW = "GW"
    NEUTRINO = "NEUTRINO"
    EM = "EM"


BURST_GROUPS = ("SNEWS2", "SNEWS", "Super-K")
"""``Alert.group`` of the streams that announce neutrino bursts of supernovae."""
BURST_WINDOW = timedelta(seconds=10)
"""SNEWS' coincidence window, from the earliest neutrino: what makes detections one burst makes
alerts of several networks one."""


class EventState(StrEnum):
    """Where an event stands."""

    ACTIVE = "active"
    RETRACTED = "retracted"


@dataclass(frozen=True, slots=True)
class Notice:
    """Raw bytes as received, with the coordinates that make the receipt unique.

    (broker, topic, partition, offset) and the bytes identify the receipt; the content's identity is
    decided only after parsing.
    """

    source: str
    """Name of the listener (entry point ``mmcoord.listeners``) that reads the payload."""
    broker: str
    topic: str
    partition: int
    offset: int
    payload: bytes
    received_at: datetime
    """When the bytes reached us, UTC."""
    sent_at: datetime | None = None
    """The broker's time stamp, or in a replay the time at which the content was sent, UTC."""


@dataclass(frozen=True, slots=True)
class ExternalCoincidence:
    """A coincidence that the notice itself claims (LVK ``external_coinc``)."""

    observatory: str
    search: str
    notice_id: str
    time_difference_s: float | None = None
    """External minus gravitational-wave time."""
    far_time_hz: float | None = None
    far_time_sky_hz: float | None = None
    skymap_fits: bytes | None = None
    """The combined map."""


@dataclass(frozen=True, slots=True)
class ErrorRegion:
    """A circle or an ellipse that holds the source with a stated probability.

    Raises
    ------
    BadNotice
        A position, axis or containment that is none.
    """

    ra_deg: float
    dec_deg: float
    semi_major_deg: float
    semi_minor_deg: float
    position_angle_deg: float
    """Of the major axis, east of north."""
    containment: float

    def __post_init__(self) -> None:
        if not (0.0 <= self.ra_deg < 360.0 and -90.0 <= self.dec_deg <= 90.0):
            raise BadNotice(f"no position: {self.ra_deg!r}, {self.dec_deg!r}", where="ra, dec")
        if not 0.0 < self.semi_minor_deg <= self.semi_major_deg <= 180.0:
            raise BadNotice(
                f"no axes: {self.semi_major_deg!r}, {self.semi_minor_deg!r} deg", where="radius"
            )
        if not 0.0 < self.containment < 1.0:
            raise BadNotice(f"{self.containment!r} is not in (0, 1)", where="containment")


@dataclass(frozen=True, slots=True)
class Alert:
    """One revision of an event.

    Identity is content: (event_id, alert_type, time_created), whatever broker it came by.
    """

    event_id: str
    messenger: Messenger
    alert_type: AlertType
    time_created: datetime
    is_practice: bool
    """Mock, test, drill or practice; never reaches a production sink."""
    event_time: datetime | None = None
    significant: bool | None = None
    far_hz: float | None = None
    group: str | None = None
    pipeline: str | None = None
    search: str | None = None
    instruments: tuple[str, ...] = ()
    classification: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
    properties: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
    skymap_fits: bytes | None = None
    """FITS bytes as in the notice (base64 undone), or None when the notice has no map."""
    external: ExternalCoincidence | None = None
    urls: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    extra: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    """Fields of the notice that we keep but do not use yet (JSON values)."""
    region: ErrorRegion | None = None
    """Localization of a notice that carries a circle or an ellipse instead of a map."""
    aliases: tuple[str, ...] = ()
    """Other names of the event in the notice: ``GRB 170817A``, ``bn170817529``."""

    def __post_init__(self) -> None:
        if not self.event_id or len(self.event_id) > _MAX_ID or "|" in self.event_id:
            raise BadNotice(f"{self.event_id[:40]!r} is no event id", where="event_id")
        for name in ("time_created", "event_time"):
            value = getattr(self, name)
            if value is None:
                continue
            if value.tzinfo is None:
                raise BadNotice("time without a zone", where=name)
            if not _YEARS[0] <= value.year < _YEARS[1]:
                raise BadNotice(f"{value:%Y-%m-%d} is no time of an event", where=name)

    @property
    def order_key(self) -> tuple[datetime, int]:
        """Sorts the revisions of one event: time created, then alert type."""
        return (self.time_created, self.alert_type.rank)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transient as a survey or broker names it. Photometry comes apart from it.

    Raises
    ------
    BadCandidate
        Position out of range or not finite, or an empty identifier.
    """

    object_id: str
    ra_deg: float
    dec_deg: float
    source: str
    """Broker or survey: ``lsst``, ``fink``, ``ztf``, ``file``, ``practice``."""
    position_error_arcsec: float | None = None
    redshift: float | None = None
    redshift_err: float | None = None
    ebv_mw: float | None = None
    """Milky Way E(B-V) still to be removed; None: photometry is corrected already."""
    is_practice: bool = False
    attributes: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    """Other columns of the packet (JSON values), passed through."""

    def __post_init__(self) -> None:
        if not self.object_id or len(self.object_id) > _MAX_ID:
            raise BadCandidate(f"{self.object_id[:40]!r} is no identifier", where="id")
        if not 0.0 <= self.ra_deg < 360.0:  # false for NaN too
            raise BadCandidate(f"{self.ra_deg!r} is not in [0, 360) deg", where="ra")
        if not -90.0 <= self.dec_deg <= 90.0:
            raise BadCandidate(f"{self.dec_deg!r} is not in [-90, 90] deg", where="dec")
        if self.redshift is not None and not (self.redshift > -0.01 and self.redshift < 20):
            raise BadCandidate(f"{self.redshift!r} is not a redshift", where="redshift")
        if self.redshift_err is not None and not 0.0 <= self.redshift_err < 20.0:
            raise BadCandidate(f"{self.redshift_err!r} is not an error", where="redshift_err")
        if self.ebv_mw is not None and not 0.0 <= self.ebv_mw < 100.0:
            raise BadCandidate(f"{self.ebv_mw!r} is not an E(B-V)", where="ebv_mw")


@dataclass(frozen=True, slots=True)
class Photometry:
    """One photometric point or upper limit of one object.

    Raises
    ------
    BadPhotometry
        Non-finite time or magnitude, or an error that is not positive.
    """

    object_id: str
    obs_mjd_tai: float
    band: str
    """Canonical name, ``system:filter``: ``lsst:r``, ``ztf:g``, ``2mass:ks``."""
    mag_ab: float
    """Magnitude, or the limit itself when ``is_limit``."""
    mag_err: float | None
    """1-sigma error; None for an upper limit."""
    is_limit: bool = False

    def __post_init__(self) -> None:
        if not self.object_id or len(self.object_id) > _MAX_ID:
            raise BadPhotometry(f"{self.object_id[:40]!r} is no identifier", where="id")
        if not _MJD_RANGE[0] <= self.obs_mjd_tai < _MJD_RANGE[1]:
            raise BadPhotometry(f"{self.obs_mjd_tai!r} is no MJD of an observation", where="mjd")
        if not _MAG_RANGE[0] < self.mag_ab < _MAG_RANGE[1]:
            raise BadPhotometry(f"{self.mag_ab!r} is not a magnitude", where="mag")
        if self.is_limit != (self.mag_err is None):
            raise BadPhotometry("a limit has no error and a detection has one", where="mag_err")
        if self.mag_err is not None and not 0.0 < self.mag_err < _MAG_RANGE[1]:
            raise BadPhotometry(f"{self.mag_err!r} is not an error", where="mag_err")


@dataclass(frozen=True, slots=True)
class Vetoed:
    """A candidate that a rule of ours leaves out. Its bytes are kept, and it is counted."""

    object_id: str
    source: str
    veto: str
    """Name of the rule: ``moving``, ``star``, ``bogus``, ``old``, ``withdrawn``; a counter has
    this name."""
    detail: str = ""
    """The value that decided, for people."""


@dataclass(frozen=True, slots=True)
class KnownTransient:
    """What a catalogue of transients (TNS, YSE-PZ) says of one object.

    Raises
    ------
    BadCandidate
        Position out of range or not finite, or an empty identifier.
    """

    catalogue: str
    """``tns``, ``ysepz``."""
    identifier: str
    """The catalogue's own key, which survives a change of name or position."""
    name: str
    """With its prefix where it has one: ``AT 2017gfo``, ``SN 2023ixf``."""
    ra_deg: float
    dec_deg: float
    names: tuple[str, ...] = ()
    """Names that surveys gave it: ``ZTF21abinaiu``, ``ATLAS21abc``."""
    classification: str | None = None
    """Spectroscopic type as the catalogue has it: ``SN Ia``; None: not classified."""
    redshift: float | None = None
    redshift_err: float | None = None
    discovered_mjd_tai: float | None = None
    host: str | None = None
    modified_at: datetime | None = None
    """When the catalogue changed the entry; the newest one stands."""
    attributes: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)

    def __post_init__(self) -> None:
        if not self.identifier or len(self.identifier) > _MAX_ID:
            raise BadCandidate(f"{self.identifier[:40]!r} is no identifier", where="identifier")
        if not 0.0 <= self.ra_deg < 360.0:  # false for NaN too
            raise BadCandidate(f"{self.ra_deg!r} is not in [0, 360) deg", where="ra")
        if not -90.0 <= self.dec_deg <= 90.0:
            raise BadCandidate(f"{self.dec_deg!r} is not in [-90, 90] deg", where="dec")


@dataclass(frozen=True, slots=True)
class Circular:
    """A GCN circular: prose, kept and linked to the events that it names.

    Identity is (circular_id, version); a later version replaces the text.
    """

    circular_id: int
    version: int
    subject: str
    body: str
    submitter: str
    created_at: datetime
    edited_at: datetime | None = None
    event_names: tuple[str, ...] = ()
    """Names of events that it is about, as written: ``GRB 170817A``, ``S230518h``."""
    synonyms: tuple[tuple[str, ...], ...] = ()
    """Groups of names that the text says are one event: ``GRB 170817A = GW170817``."""


@dataclass(frozen=True, slots=True)
class LateMap:
    """A sky map that was behind a link of an alert and was fetched after it."""

    event_id: str
    alert_type: AlertType
    time_created: datetime
    url: str
    fits: bytes


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A source takes back what it measured of an object in a band at a time."""

    object_id: str
    obs_mjd_tai: float
    band: str
    reason: str = ""


ParsedRecord = (
    Alert
    | Candidate
    | Photometry
    | Vetoed
    | KnownTransient
    | Circular
    | LateMap
    | Withdrawal
    | Elsewhere
    | Weather
)
"""What a listener makes of a payload."""


@dataclass(frozen=True, slots=True)
class Match:
    """A candidate against one localization of an event.

    ``credible_level_*`` is the probability inside the smallest region that contains the
    candidate: 0 at the peak, 1 at the far edge. 3D values are None without distance.
    """

    event_id: str
    localization_id: str
    object_id: str
    prob_density_sr: float
    """Probability per steradian at the candidate."""
    credible_level_2d: float
    prob_density_mpc3: float | None
    credible_level_3d: float | None
    distance_mean_mpc: float | None
    """Mean of the map's distance posterior along the line of sight."""
    distance_std_mpc: float | None
    time_offset_day: float | None
    """First detection minus event time; None without a detection."""


@dataclass(frozen=True, slots=True)
class PlanLook:
    """A further look at a target of a plan, beside its first observation."""

    role: str
    """See ``followup.looks.Role``: another colour, the same again, the other colour again."""
    instrument: str
    band: str
    start: datetime
    exposure_s: float
    predicted_mag: float | None = None


@dataclass(frozen=True, slots=True)
class PlanTile:
    """A field of a wide camera that a plan asks for, to find what nobody has found yet."""

    tile_id: str
    """The same for the same field of the same camera, in whatever plan."""
    instrument: str
    band: str
    ra_deg: float
    """Of the field's centre; a square, north up."""
    dec_deg: float
    field_deg2: float
    start: datetime
    exposure_s: float
    probability: float
    """Of the map within the field."""
    new_probability: float
    """P(this image shows the counterpart, and no earlier one did, of others or of this plan): it
    sums up to the chance that the plan's tiles show it."""
    reach: float
    """P(the counterpart is brighter than the image's depth), if it is there."""
    score: float
    """What it is worth at its best time, in the currency of the targets' scores."""
    reason: str


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One line of an event's ranked plan."""

    rank: int
    object_id: str
    ra_deg: float
    dec_deg: float
    score: float
    factors: Mapping[str, float | None]
    """Every factor of the score; None: not known, counted with its stated default."""
    reasons: Mapping[str, str]
    """A sentence per factor, for people."""
    credible_level_2d: float | None
    credible_level_3d: float | None
    p_kilonova: float | None
    run_key: str | None
    """The inference behind ``p_kilonova``; None when only the screen has looked."""
    instrument: str | None
    band: str | None
    start: datetime | None
    exposure_s: float | None
    predicted_mag: float | None
    distance_mpc: float | None
    distance_err_mpc: float | None
    looks: tuple[PlanLook, ...] = ()
    """Further observations of the same target, in order of time."""


@dataclass(frozen=True, slots=True)
class Undertaking:
    """A claim of a group on a target, as a sink may tell it."""

    object_id: str
    group: str
    state: str
    """See ``followup.claims.ClaimState``."""
    changed_at: datetime
    instrument: str | None = None
    band: str | None = None


class OutgoingKind(StrEnum):
    """What a delivery does at the sink."""

    PUBLISH = "publish"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a sink is asked to say: one plan revision of one event, whole or one target.

    A sink turns it into its own payload by a pure function; the payload is stored in the
    outbox before anything is sent.
    """

    kind: OutgoingKind
    event_id: str
    event_aliases: tuple[str, ...]
    event_time: datetime | None
    alert_type: AlertType | None
    is_practice: bool
    plan_revision: int
    rows: tuple[PlanRow, ...]
    """All rows of the plan for a sink that speaks per plan, one row for one per target."""
    area_90_deg2: float | None = None
    distance_mpc: float | None = None
    distance_std_mpc: float | None = None
    far_hz: float | None = None
    classification: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
    photometry: tuple[Photometry, ...] = ()
    headlines: tuple[str, ...] = ()
    """What must be said before the plan, in sentences: what a neutrino burst is and how sure."""
    page_url: str | None = None
    outlines: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    """Of the map's credible regions: level (``0.5``, ``0.9``) -> rings of [ra_deg, dec_deg]."""
    undertakings: tuple[Undertaking, ...] = ()
    """Claims on the targets of ``rows`` and on ``tiles``, of each group the last one."""
    tiles: tuple[PlanTile, ...] = ()
    """Fields of the plan for a sink that speaks per plan, one of them for one per target."""
    key: str = ""
    """Idempotency key: the same key is the same message."""
