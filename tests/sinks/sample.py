"""Plans made for the tests: made-up sources on a real part of the sky."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mmcoord.records import AlertType, Outgoing, OutgoingKind, Photometry, PlanRow, PlanTile

EVENT = "MS261123a"
EVENT_TIME = datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC)


def row(rank: int, *, score: float | None = None, p_kilonova: float | None = 0.5) -> PlanRow:
    """The ``rank``-th row; object and place depend on the number of the object alone."""
    return row_of(rank, rank, score=score, p_kilonova=p_kilonova)


def row_of(
    number: int, rank: int, *, score: float | None = None, p_kilonova: float | None = 0.5
) -> PlanRow:
    """Object ``number`` at ``rank``."""
    return PlanRow(
        rank=rank,
        object_id=f"LSST-DO-{900000 + number}",
        ra_deg=(197.45 + 0.5 * number) % 360.0,
        dec_deg=-23.381 + 0.25 * number,
        score=1.0 / rank if score is None else score,
        factors={"p_membership": 0.8, "p_kilonova": p_kilonova, "host": None},
        reasons={"p_membership": "inside the 30% volume", "host": "no host catalogue searched"},
        credible_level_2d=0.31,
        credible_level_3d=0.42,
        p_kilonova=p_kilonova,
        run_key="0f" * 32,
        instrument="soar_goodman",
        band="lsst:r",
        start=datetime(2026, 11, 23, 4, 30, tzinfo=UTC),
        exposure_s=300.0,
        predicted_mag=20.7,
        distance_mpc=41.0,
        distance_err_mpc=6.0,
    )


def tile(number: int, *, instrument: str = "ztf", probability: float = 0.05) -> PlanTile:
    """The ``number``-th field by time; half of what is in it is within reach."""
    ra_deg, dec_deg = 190.0 + 7.0 * number, -23.5
    return PlanTile(
        tile_id=f"tile-{instrument}-{ra_deg:06.2f}{dec_deg:+06.2f}",
        instrument=instrument,
        band="ztf:r",
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        field_deg2=47.0,
        start=datetime(2026, 11, 23, 4, 0, tzinfo=UTC) + timedelta(minutes=5 * number),
        exposure_s=120.0,
        probability=probability,
        new_probability=0.5 * probability,
        reach=0.5,
        score=0.25 * probability,
        reason="5 % of the map",
    )


def photometry(object_id: str) -> tuple[Photometry, ...]:
    """A detection in two bands and an upper limit before them."""
    return (
        Photometry(object_id, 61367.5, "lsst:r", 24.1, None, is_limit=True),
        Photometry(object_id, 61368.1, "lsst:g", 19.31, 0.02),
        Photometry(object_id, 61368.2, "lsst:r", 19.42, 0.03),
    )


def outgoing(
    rows: tuple[PlanRow, ...],
    *,
    revision: int = 1,
    key: str = "",
    kind: OutgoingKind = OutgoingKind.PUBLISH,
    event_id: str = EVENT,
    alert_type: AlertType = AlertType.PRELIMINARY,
    with_photometry: bool = True,
) -> Outgoing:
    """A plan of ``rows``; its key is made as the outbox makes one when none is given."""
    objects = "+".join(r.object_id for r in rows)
    return Outgoing(
        kind=kind,
        event_id=event_id,
        event_aliases=("GRB261123A",),
        event_time=EVENT_TIME,
        alert_type=alert_type,
        is_practice=True,
        plan_revision=revision,
        rows=rows,
        area_90_deg2=31.5,
        distance_mpc=40.0,
        distance_std_mpc=8.0,
        far_hz=3.2e-10,
        classification={"BNS": 0.98, "Terrestrial": 0.02},
        photometry=tuple(p for r in rows for p in photometry(r.object_id))
        if with_photometry
        else (),
        page_url="https://mmcoord.invalid/event/MS261123a",
        key=key or f"{event_id}/{revision}/{objects}",
    )
