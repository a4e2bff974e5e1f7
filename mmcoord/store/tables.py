"""The tables: what survives a power cut.

Rules that hold for all of them:

* ``notice``, ``alert``, ``localization``, ``detection``, ``plan``, ``request`` and
  ``journal`` are append-only: a correction is a new row.
* Integers that can exceed 2^31 (HEALPix order-29 indices, LSST identifiers, offsets) are
  ``BigInteger``: SQLModel's plain ``int`` overflows on PostgreSQL.
* ``cause_id`` names the notice that set a chain of work going; it is copied from row to
  row, so that ``story`` can follow one notice through the house.
* Times are UTC; ``obs_mjd_tai`` is MJD on the TAI scale.
"""

from __future__ import annotations

from mmcoord.store.tables_burst import BurstMemberRow, BurstRow
from mmcoord.store.tables_candidates import (
    CandidateRow,
    DetectionRow,
    KnownNameRow,
    KnownTransientRow,
    MatchRow,
    ScreeningRow,
)
from mmcoord.store.tables_coincidence import CoincidenceRow
from mmcoord.store.tables_events import (
    AlertRow,
    CircularNameRow,
    CircularRow,
    EventNameRow,
    EventRow,
    LateMapRow,
    LocalizationRow,
)
from mmcoord.store.tables_intake import (
    AlertNoticeRow,
    CounterRow,
    CursorRow,
    DeadLetterRow,
    ListenerRow,
    NoticeRow,
)
from mmcoord.store.tables_lineage import LineageRow
from mmcoord.store.tables_plans import DeliveryRow, PlanRevisionRow, RequestRow
from mmcoord.store.tables_runs import AccessGroupRow, RunRequestRow, RunRow, TokenRow, UserModelRow
from mmcoord.store.tables_taint import PointChangeRow
from mmcoord.store.tables_work import AlarmRow, JournalRow, LedgerRow, WorkRow

__all__ = [
    "AccessGroupRow",
    "AlarmRow",
    "AlertNoticeRow",
    "AlertRow",
    "BurstMemberRow",
    "BurstRow",
    "CandidateRow",
    "CircularNameRow",
    "CircularRow",
    "CoincidenceRow",
    "CounterRow",
    "CursorRow",
    "DeadLetterRow",
    "DeliveryRow",
    "DetectionRow",
    "EventNameRow",
    "EventRow",
    "JournalRow",
    "KnownNameRow",
    "KnownTransientRow",
    "LateMapRow",
    "LedgerRow",
    "LineageRow",
    "ListenerRow",
    "LocalizationRow",
    "MatchRow",
    "NoticeRow",
    "PlanRevisionRow",
    "PointChangeRow",
    "RequestRow",
    "RunRequestRow",
    "RunRow",
    "ScreeningRow",
    "TokenRow",
    "UserModelRow",
    "WorkRow",
]
