"""A small store filled by hand, as the stages would have filled it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import healpy
from sqlmodel import SQLModel

from listeners.settings import ListenerState, ListenerStatus
from mmcoord.records import PlanRow
from mmcoord.stages.planrows import row_to_json
from mmcoord.store.database import Database
from mmcoord.store.tables import (
    AlarmRow,
    AlertRow,
    CandidateRow,
    DeadLetterRow,
    DeliveryRow,
    DetectionRow,
    EventRow,
    JournalRow,
    LedgerRow,
    LocalizationRow,
    MatchRow,
    NoticeRow,
    PlanRevisionRow,
    RequestRow,
    RunRow,
    ScreeningRow,
    WorkRow,
)
from mmcoord.timescales import mjd_tai
from mmcoord.wiring import status_json
from tests.stores import migrated

T0 = datetime(2027, 3, 4, 4, 59, 8, tzinfo=UTC)
HEARD = T0 + timedelta(minutes=7)
EVENT = "MS270304ab"
FIRST = "KN27aaa"
CENTRE = (197.4, -23.4)
MAP = "5eed" * 16
RUN = "0123456789abcdef" * 4
FILE = "mmcoord.db"
FACTORS = ("membership", "time", "kilonova", "brightness", "observability")


def ellipse(
    ra_deg: float, dec_deg: float, major: float, minor: float, n: int = 60
) -> list[list[float]]:
    """A ring of [ra_deg, dec_deg] with half-axes in degrees, tilted."""
    ring = []
    for k in range(n):
        a, b = major * math.cos(math.tau * k / n), minor * math.sin(math.tau * k / n)
        dec = dec_deg + 0.8 * a + 0.6 * b
        ra = ra_deg + (0.6 * a - 0.8 * b) / math.cos(math.radians(dec))
        ring.append([round(ra % 360.0, 4), round(dec, 4)])
    return ring


def url(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


def open_store(folder: Path) -> Database:
    """The store in a folder; made with every table where there is none."""
    url = f"sqlite:///{folder / FILE}"
    return Database(url) if (folder / FILE).exists() else migrated(url)


def add(database: Database, *rows: SQLModel) -> None:
    """Write rows in one transaction."""
    with database.write() as session:
        session.add_all(rows)


def position(k: int) -> tuple[float, float]:
    """Where the k-th candidate is: a spiral around the middle of the map."""
    angle, reach = 2.39996 * k, 0.35 * math.sqrt(k + 1)
    return (
        CENTRE[0] + 1.6 * reach * math.cos(angle),
        CENTRE[1] + 2.2 * reach * math.sin(angle),
    )


def plan_row(rank: int, object_id: str, score: float, **changes: Any) -> PlanRow:
    """A plan row with every factor known but one."""
    known = names(3)
    ra_deg, dec_deg = position(known.index(object_id) if object_id in known else rank)
    values: dict[str, Any] = {
        "rank": rank,
        "object_id": object_id,
        "ra_deg": ra_deg,
        "dec_deg": dec_deg,
        "score": score,
        "factors": {
            "membership": 0.83,
            "time": 1.0,
            "kilonova": score,
            "brightness": None if rank == 3 else 0.9,
            "observability": 0.8,
        },
        "reasons": {name: f"why {name} of {object_id}" for name in FACTORS},
        "credible_level_2d": 0.556,
        "credible_level_3d": 0.31,
        "p_kilonova": score,
        "run_key": RUN if rank == 1 else None,
        "instrument": "lco-1m-sso",
        "band": "sdss:i",
        "start": HEARD + timedelta(hours=4),
        "exposure_s": 120.0,
        "predicted_mag": 18.4,
        "distance_mpc": 39.8,
        "distance_err_mpc": 7.6,
    }
    return PlanRow(**(values | changes))


def journal(
    what: str, stage: str, text: str, seconds: float, latency_s: float | None = None, **more: Any
) -> JournalRow:
    """A line of the journal, ``seconds`` after the event was heard of."""
    return JournalRow(
        at=HEARD + timedelta(seconds=seconds),
        stage=stage,
        what=what,
        text=text,
        latency_s=latency_s,
        cause_id="notice:1",
        **({"event_id": EVENT} | more),
    )


def event_row(event_id: str, **changes: Any) -> EventRow:
    """An active practice event without a map."""
    values: dict[str, Any] = {
        "event_id": event_id,
        "messenger": "GW",
        "state": "active",
        "is_practice": True,
        "event_time": T0,
        "alert_type": "PRELIMINARY",
        "significant": True,
        "first_received_at": HEARD,
        "updated_at": HEARD,
    }
    return EventRow(**(values | changes))


def alert_row(number: int, alert_type: str, **changes: Any) -> AlertRow:
    """One revision of the sample event."""
    values: dict[str, Any] = {
        "id": number,
        "event_id": EVENT,
        "alert_type": alert_type,
        "time_created": T0 + timedelta(minutes=6 * number),
        "notice_id": number,
        "messenger": "GW",
        "is_practice": True,
        "event_time": T0,
        "significant": True,
        "far_hz": 1.5e-9,
        "group": "CBC",
        "pipeline": "gstlal",
        "search": "AllSky",
        "instruments": ["H1", "L1", "V1"],
        "classification": {"BNS": 0.95, "Terrestrial": 0.05},
        "properties": {"HasNS": 1.0},
        "received_at": HEARD + timedelta(minutes=6 * number),
    }
    return AlertRow(**(values | changes))


def notice_row(number: int, payload: bytes, **changes: Any) -> NoticeRow:
    """A notice in the inbox."""
    values: dict[str, Any] = {
        "id": number,
        "source": "igwn",
        "broker": "gcn",
        "topic": "igwn.gwalert",
        "partition": 0,
        "offset": number,
        "payload": payload,
        "sha256": "ab" * 32,
        "received_at": HEARD,
        "state": "processed",
        "outcome": f"INITIAL of {EVENT}",
    }
    return NoticeRow(**(values | changes))


def alarm_row(key: str, severity: str = "page", **changes: Any) -> AlarmRow:
    """An alarm that stands."""
    values: dict[str, Any] = {
        "key": key,
        "severity": severity,
        "text": f"What {key} means and what to do.",
        "raised_at": HEARD,
    }
    return AlarmRow(**(values | changes))


def listener_status(name: str, **changes: Any) -> dict[str, Any]:
    """A listener's status as the daemon gives it to the page."""
    status = ListenerStatus(name, "igwn", ListenerState.RUNNING, broker="kafka.gcn.nasa.gov")
    return status_json(replace(status, **changes))


def delivery_row(number: int, **changes: Any) -> DeliveryRow:
    """A delivery that was sent."""
    values: dict[str, Any] = {
        "id": number,
        "key": f"publish:folder:{EVENT}:2:{number}",
        "kind": "publish",
        "sink": "folder",
        "event_id": EVENT,
        "plan_revision": 2,
        "target": FIRST,
        "is_practice": True,
        "payload": {"event": {"event_id": EVENT}, "targets": [{"object_id": FIRST}]},
        "state": "sent",
        "attempts": 1,
        "created_at": HEARD,
        "next_attempt_at": HEARD,
        "finished_at": HEARD + timedelta(seconds=2),
    }
    return DeliveryRow(**(values | changes))


def fill(database: Database, *, candidates: int = 40) -> None:
    """A practice event with three candidates in its plan, and what led there."""
    notice = {"superevent_id": EVENT, "event": {"skymap": "QUJD" * 5000}}
    add(
        database,
        *(notice_row(n, json.dumps(notice).encode()) for n in (1, 2)),
        notice_row(3, b"\x00\x01Obj\xff" * 200, state="dead", outcome=None, source="table"),
        DeadLetterRow(id=1, notice_id=3, stage="intake", reason="ra: 400.0 is not in", at=HEARD),
        event_row(
            EVENT,
            alert_type="INITIAL",
            current_alert_id=2,
            localization_id=MAP,
            aliases=["GRB270304A"],
            updated_at=HEARD + timedelta(minutes=14),
        ),
        alert_row(1, "PRELIMINARY", localization_id="beef" * 16, far_hz=2e-8),
        alert_row(2, "INITIAL", localization_id=MAP),
        map_row("beef" * 16, 60.0, 12.0, 5.0),
        map_row(MAP, 31.0, 8.0, 3.0),
    )
    _fill_candidates(database, candidates)
    _fill_plan(database)
    add(
        database,
        journal("received", "intake", "INITIAL stored", 0.2, 0.2),
        journal("matched", "match", f"{candidates} of 4000 match", 1.5, 1.1),
        journal("screened", "screen", f"{candidates} screened, 3 worth a full inference", 2.5, 0.9),
        journal("inferred", "infer", f"{FIRST}: P(kilonova) 0.97", 20.0, 17.2, object_id=FIRST),
        journal("planned", "plan", f"plan revision 2: 3 targets, first {FIRST}", 21.0, 1.0),
        journal("sent", "deliver", f"{FIRST} revision 2 to folder: sent", 23.0, 2.0),
        delivery_row(1),
        delivery_row(2, target="SN27bbb", state="refused", detail="practice and real do not mix"),
        LedgerRow(stage="intake", received=3, processed=2, dead=1),
        LedgerRow(stage="match", received=5, processed=5, dead=0),
        LedgerRow(stage="infer", received=4, processed=3, dead=0),
        LedgerRow(stage="plan", received=2, processed=2, dead=0),
        WorkRow(
            stage="infer",
            key=f"{EVENT}|SN27bbb",
            requested=4,
            done=3,
            not_before=HEARD,
            enqueued_at=HEARD,
        ),
    )


def map_row(name: str, area: float, major: float, minor: float) -> LocalizationRow:
    return LocalizationRow(
        id=name,
        fits=b"SIMPLE",
        is_3d=True,
        n_tiles=19200,
        area_50_deg2=area / 4,
        area_90_deg2=area,
        distance_mpc=39.8,
        distance_std_mpc=7.6,
        outlines={
            "0.5": [ellipse(*CENTRE, major / 2, minor / 2)],
            "0.9": [ellipse(*CENTRE, major, minor), ellipse(206.0, -31.0, 1.2, 0.8)],
        },
        created_at=HEARD,
    )


def names(number: int) -> list[str]:
    """Object ids of the sample's candidates."""
    return [FIRST, "SN27bbb", "SN27ccc", *(f"CAND{k:03d}" for k in range(3, number))]


def _fill_candidates(database: Database, number: int) -> None:
    rows: list[SQLModel] = []
    for k, name in enumerate(names(number)):
        ra, dec = position(k)
        p = 0.97 if k == 0 else None if k % 7 == 5 else 0.9 / (k + 0.5)
        rows += [
            CandidateRow(object_id=name, source="practice", ra_deg=ra, dec_deg=dec,
                         hpx29=int(healpy.ang2pix(2**29, ra, dec, nest=True, lonlat=True)),
                         is_practice=True, notice_id=1, received_at=HEARD),
            MatchRow(event_id=EVENT, localization_id=MAP, object_id=name, prob_density_sr=10.0,
                     credible_level_2d=min(0.02 * (k + 1), 0.99), credible_level_3d=0.3,
                     distance_mean_mpc=39.8, distance_std_mpc=7.6, time_offset_day=0.4,
                     matched_at=HEARD),
            ScreeningRow(event_id=EVENT, object_id=name, p_kilonova=p, reason=f"screen of {name}",
                         n_points=4, run_key=RUN if k == 0 else None, screened_at=HEARD),
        ]  # fmt: skip
        if k < 5:
            rows += photometry(name)
    add(database, *rows)


def photometry(name: str) -> list[SQLModel]:
    """A fading source in five bands, with a limit before the event."""
    t0 = mjd_tai(T0)
    rows: list[SQLModel] = []
    for j, (band, slope) in enumerate(
        (("lsst:g", 1.3), ("lsst:r", 0.8), ("lsst:i", 0.55), ("lsst:z", 0.45), ("2mass:ks", 0.1))
    ):
        for k, day in enumerate((0.5, 1.1, 2.2, 3.1, 5.4, 8.2)):
            rows.append(
                DetectionRow(
                    object_id=name,
                    point_key=f"{band}{k}",
                    obs_mjd_tai=t0 + day + 0.02 * j,
                    band=band,
                    mag_ab=17.2 + slope * day + 0.1 * j,
                    mag_err=0.03 + 0.02 * k,
                    notice_id=1,
                    received_at=HEARD,
                )
            )
        rows.append(
            DetectionRow(
                object_id=name,
                point_key=f"{band}limit",
                obs_mjd_tai=t0 - 0.4,
                band=band,
                mag_ab=21.3,
                is_limit=True,
                notice_id=1,
                received_at=HEARD,
            )
        )
    return rows


def light_curve() -> dict[str, Any]:
    """What the inference stores: quantiles per band, None where too faint to state."""
    t0 = mjd_tai(T0)
    days = [0.1 + 0.5 * k for k in range(40)]
    found = {}
    for j, (band, slope) in enumerate(
        (("lsst:g", 1.3), ("lsst:r", 0.8), ("lsst:i", 0.55), ("lsst:z", 0.45), ("lsst:y", 0.4))
    ):
        middle = [17.2 + slope * day + 0.1 * j for day in days]
        found[band] = {
            "mjd_tai": [t0 + day for day in days],
            "q05": [m - 0.2 if m < 39 else None for m in middle],
            "q50": [m if m < 39 else None for m in middle],
            "q95": [m + 0.3 if m < 39 else None for m in middle],
        }
    return found


def run_row(**changes: Any) -> RunRow:
    """A finished inference of the first target."""
    mass = {"median": 0.062, "lo90": 0.05, "hi90": 0.078, "unit": "Msun"}
    values: dict[str, Any] = {
        "run_key": RUN,
        "event_id": EVENT,
        "object_id": FIRST,
        "state": "done",
        "coalesced": 3,
        "cached": 2,
        "attempts": 1,
        "created_at": HEARD,
        "finished_at": HEARD + timedelta(seconds=17),
        "summary": {
            "model": "villar17_2",
            "converged": True,
            "ess": 2140.0,
            "p_kilonova": 0.97,
            "log_evidence": -31.2,
            "derived": {"ejecta_mass_total_msun": mass},
            "parameters": {"kappa_red": {"median": 10, "lo90": 7, "hi90": 13, "unit": "cm2/g"}},
            "comparison": [
                {"model": "villar17_2", "probability": 0.97, "log_evidence": -31.2,
                 "log_evidence_err": 0.1},
                {"model": "sn_ia", "probability": 0.03, "log_evidence": -34.7,
                 "log_evidence_err": 0.1},
            ],
            "n_points": 35,
            "wall_s": 16.4,
        },
        "light_curve": light_curve(),
    }  # fmt: skip
    return RunRow(**(values | changes))


def _fill_plan(database: Database) -> None:
    revisions = {
        1: [plan_row(1, "SN27bbb", 0.4), plan_row(2, FIRST, 0.3, run_key=None)],
        2: [
            plan_row(1, FIRST, 0.57),
            plan_row(2, "SN27bbb", 0.4),
            plan_row(3, "SN27ccc", 0.0, instrument=None, band=None, start=None, exposure_s=None,
                     predicted_mag=None),
        ],
    }  # fmt: skip
    rows: list[SQLModel] = [run_row()]
    for revision, planned in revisions.items():
        rows.append(
            PlanRevisionRow(
                event_id=EVENT,
                revision=revision,
                content_sha256=f"{revision:064d}",
                planned_for=HEARD,
                n_targets=len(planned),
                objective=sum(row.score for row in planned),
                note=f"{len(planned)} targets can be observed.",
                created_at=HEARD + timedelta(seconds=10 * revision),
            )
        )
        rows += [
            RequestRow(event_id=EVENT, revision=revision, rank=row.rank, object_id=row.object_id,
                       score=row.score, row=row_to_json(row))
            for row in planned
        ]  # fmt: skip
    add(database, *rows)
