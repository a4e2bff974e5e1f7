"""Columns that many tables have; the rules behind them are in ``mmcoord.store.tables``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column
from sqlmodel import Field

from mmcoord.store.types import BIG_ID, JSON_DOC, UtcDateTime

__all__ = ["big", "id_column", "json_doc", "when"]


def id_column() -> Any:
    """A number that the database gives, as primary key."""
    return Field(default=None, sa_column=Column(BIG_ID, primary_key=True, autoincrement=True))


def when(*, nullable: bool = False, index: bool = False) -> Any:
    """A time, UTC."""
    return Field(default=None, sa_column=Column(UtcDateTime, nullable=nullable, index=index))


def json_doc(default: Any) -> Any:
    """A JSON document; ``default`` makes an empty one."""
    return Field(default_factory=default, sa_column=Column(JSON_DOC, nullable=False))


def big(*, default: int | None = 0, index: bool = False, nullable: bool = False) -> Any:
    """An integer that can exceed 2^31."""
    return Field(
        default=default,
        sa_column=Column(BigInteger, nullable=nullable, index=index, default=default),
    )
