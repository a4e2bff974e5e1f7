"""Transients: their photometry, how they match events, what catalogues know of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from mmcoord.store.columns import big, id_column, json_doc, when

__all__ = [
    "CandidateRow",
    "DetectionRow",
    "KnownNameRow",
    "KnownTransientRow",
    "MatchRow",
    "ScreeningRow",
]


class CandidateRow(SQLModel, table=True):
    """A transient; its photometry is in ``detection`` and may arrive first."""

    __tablename__ = "candidate"

    object_id: str = Field(primary_key=True)
    source: str
    ra_deg: float
    dec_deg: float
    hpx29: int = big(index=True)
    """HEALPix nested index at order 29."""
    position_error_arcsec: float | None = None
    redshift: float | None = None
    redshift_err: float | None = None
    ebv_mw: float | None = None
    is_practice: bool = False
    attributes: dict[str, Any] = json_doc(dict)
    notice_id: int = big()
    received_at: datetime = when()


class DetectionRow(SQLModel, table=True):
    """One photometric point or limit. ``point_key`` makes a repeat recognisable."""

    __tablename__ = "detection"
    __table_args__ = (UniqueConstraint("object_id", "point_key", name="uq_detection_point"),)

    id: int | None = id_column()
    object_id: str = Field(index=True)
    point_key: str
    obs_mjd_tai: float
    band: str
    mag_ab: float
    mag_err: float | None = None
    is_limit: bool = False
    is_current: bool = True
    """False: its source has replaced or withdrawn it (``point_change``). The row stays."""
    notice_id: int = big()
    """The notice that said it first."""
    received_at: datetime = when()


class MatchRow(SQLModel, table=True):
    """A candidate against one localization of an event."""

    __tablename__ = "match"
    __table_args__ = (
        Index("ix_match_by_level", "event_id", "localization_id", "credible_level_2d", "object_id"),
    )

    event_id: str = Field(primary_key=True)
    localization_id: str = Field(primary_key=True)
    object_id: str = Field(primary_key=True, index=True)
    prob_density_sr: float
    credible_level_2d: float
    prob_density_mpc3: float | None = None
    credible_level_3d: float | None = None
    distance_mean_mpc: float | None = None
    distance_std_mpc: float | None = None
    time_offset_day: float | None = None
    matched_at: datetime = when()
    cause_id: str = ""


class ScreeningRow(SQLModel, table=True):
    """The quick look at one match; decides whether a full inference is worth its cost."""

    __tablename__ = "screening"

    event_id: str = Field(primary_key=True)
    object_id: str = Field(primary_key=True)
    p_kilonova: float | None = None
    reason: str = Field(sa_column=Column(Text, nullable=False))
    detected_before_event: bool | None = None
    n_points: int = 0
    run_key: str | None = Field(default=None, index=True)
    """The run for the newest data; None when the screen asked for none."""
    screened_at: datetime = when()
    cause_id: str = ""


class KnownTransientRow(SQLModel, table=True):
    """An entry of a catalogue of transients, newest version."""

    __tablename__ = "known_transient"

    catalogue: str = Field(primary_key=True)
    identifier: str = Field(primary_key=True)
    name: str = Field(index=True)
    ra_deg: float
    dec_deg: float
    hpx29: int = big(index=True)
    """HEALPix nested index at order 29."""
    names: list[str] = json_doc(list)
    classification: str | None = None
    redshift: float | None = None
    redshift_err: float | None = None
    discovered_mjd_tai: float | None = None
    host: str | None = None
    modified_at: datetime | None = when(nullable=True)
    attributes: dict[str, Any] = json_doc(dict)
    notice_id: int = big()
    received_at: datetime = when()


class KnownNameRow(SQLModel, table=True):
    """Every name of an entry in a catalogue of transients, spelled as ``event_name`` is."""

    __tablename__ = "known_name"

    key: str = Field(primary_key=True)
    catalogue: str = Field(primary_key=True)
    identifier: str = Field(primary_key=True)
