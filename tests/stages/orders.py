"""Notices of several events for tests of the order of arrival, and the state that they leave."""

from __future__ import annotations

import base64
import io
import json
from datetime import timedelta
from typing import Any

import fastavro
from sqlalchemy import delete, select

import skymaps
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.store.database import Database
from mmcoord.store.tables import (
    AlertRow,
    CircularNameRow,
    CircularRow,
    EventNameRow,
    EventRow,
    LocalizationRow,
)
from tests.listeners.notices import SCHEMA
from tests.making import T0, gaussian_map, lvk_notice, send

Message = tuple[str, bytes]
MINUTE = timedelta(minutes=1)
FIRST_MAP, SECOND_MAP = (
    skymaps.to_fits_bytes(gaussian_map(ra_deg=ra, radius_deg=30.0)) for ra in (150.0, 152.0)
)


def lvk(event: str, kind: str, minute: int, fits: bytes | None = None, **more: Any) -> Message:
    return ("igwn", lvk_notice(event, kind, T0 + minute * MINUTE, skymap=fits, **more))


def as_avro(message: Message) -> Message:
    """The same notice as SCiMMA carries it."""
    record = json.loads(message[1])
    if record["event"] is not None:
        coded = record["event"]["skymap"]
        record["event"]["skymap"] = None if coded is None else base64.b64decode(coded)
    stream = io.BytesIO()
    fastavro.writer(stream, fastavro.parse_schema(SCHEMA), [record])
    return (message[0], stream.getvalue())


def with_coincidence(message: Message, notice_id: int, fits: bytes | None = None) -> Message:
    """The notice with a coincidence and nothing else changed, as LVK sends it again."""
    document = json.loads(message[1])
    document["external_coinc"] = {
        "gcn_notice_id": notice_id,
        "ivorn": f"ivo://nasa.gsfc.gcn/Fermi#GBM_Flt_Pos_{notice_id}",
        "observatory": "Fermi",
        "search": "GRB",
        "time_difference": 1.7,
        "time_coincidence_far": 1e-9,
        "time_sky_position_coincidence_far": 1e-11,
        "combined_skymap": base64.b64encode(fits).decode() if fits else None,
    }
    return (message[0], json.dumps(document).encode())


def unified(schema: str, **fields: Any) -> Message:
    document = {"$schema": f"https://gcn.nasa.gov/schema/v7.2.1/gcn/notices/{schema}.schema.json"}
    return ("gcn_unified", json.dumps(document | fields).encode())


def icecube(revision: int) -> Message:
    return unified(
        "icecube/single_neutrino_alerts",
        mission="IceCube",
        instrument="IC86",
        messenger="Neutrino",
        pipeline="Gold Track Alert",
        record_number=revision,
        event_name=["IceCube-260301A"],
        id=["140000_123456"],
        alert_datetime=f"2026-03-01T02:3{revision + 1}:00Z",
        alert_type="update" if revision else "initial",
        alert_tense="current",
        trigger_time="2026-03-01T02:30:00.250574Z",
        ra=150.0 + revision,
        dec=-20.0,
        ra_dec_error=8.0,
        far=8e-8,
    )


def icecube_voevent(revision: int) -> Message:
    """The same neutrino by GCN Classic: other units, other precision, the same second."""
    xml = f"""<?xml version="1.0" encoding="UTF-8"?>
<voe:VOEvent ivorn="ivo://nasa.gsfc.gcn/AMON#ICECUBE_GOLD_Event_140000_123456_{revision}"
  role="observation" version="2.0" xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0">
 <Who><Date>2026-03-01T02:3{revision + 1}:00</Date></Who>
 <What><Param name="Packet_Type" value="173"/><Param name="run_id" value="140000"/>
  <Param name="event_id" value="0123456"/><Param name="Rev" value="{revision}"/>
  <Param name="FAR" value="2.5" unit="yr^-1"/></What>
 <WhereWhen><ObsDataLocation><ObservationLocation><AstroCoords>
  <Time><TimeInstant><ISOTime>2026-03-01T02:30:00.25</ISOTime></TimeInstant></Time>
  <Position2D><Value2><C1>{150.2 + revision}</C1><C2>-20.0</C2></Value2>
   <Error2Radius>9.0</Error2Radius></Position2D>
 </AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen>
</voe:VOEvent>"""
    return ("voevent", xml.encode())


def fermi(kind: str, minute: int, number: int = 524666471) -> Message:
    return unified(
        "fermi/gbm/trigger",
        mission="Fermi",
        instrument="GBM",
        id=[str(number)],
        event_name=["bn260301104"],
        alert_datetime=(T0 + minute * MINUTE).isoformat(),
        alert_type=kind,
        alert_tense="current",
        trigger_time=T0.isoformat(),
    )


def snews(minute: int, times: dict[str, str], kind: str = "UPDATE") -> Message:
    sent = (T0 + minute * MINUTE).isoformat()
    document = {
        "id": f"SNEWS_Coincidence_ALERT-UPDATE {sent}",
        "alert_type": kind,
        "detector_names": list(times),
        "neutrino_times": [f"2026-03-01T{time}" for time in times.values()],
        "p_values": [0.01] * len(times),
        "sent_time": sent,
        "server_tag": "one",
    }
    return ("snews2", json.dumps(document).encode())


def snews_gcn(minute: int, times: dict[str, str], kind: str = "initial") -> Message:
    return unified(
        "snews2/coincidence",
        mission="SNEWS2",
        messenger="Neutrino",
        id=[f"snews-{minute}"],
        alert_datetime=(T0 + minute * MINUTE).isoformat(),
        alert_type=kind,
        alert_tense="current",
        snews2_tier="CoincidenceTier",
        detector_status={**dict.fromkeys(times, "triggered"), "NOvA": "on"},
        event_times_utc=[f"2026-03-01T{time}Z" for time in times.values()],
        tier_data={"p_values": [0.02] * len(times), "false_alarm_prob": "1%"},
    )


def circular(number: int, subject: str, version: int | None = None, **more: Any) -> Message:
    document = {
        "circularId": number,
        "subject": subject,
        "submitter": "A. Person at an institute <a.person@example.org>",
        "body": "We report an observation.",
        "createdOn": 1772332200000 + number,
        **({} if version is None else {"version": version, "editedOn": 1772340000000 + version}),
        **more,
    }
    return ("gcn_circulars", json.dumps(document).encode())


def messages() -> list[Message]:
    """Three superevents, a neutrino, a gamma-ray burst, a supernova, a drill, circulars."""
    update = lvk("S260301a", "UPDATE", 40, SECOND_MAP)
    initial = lvk("S260301a", "INITIAL", 40, FIRST_MAP)
    burst = {"Super-K": "02:30:00.02", "IceCube": "02:30:00.05"}
    return [
        lvk("S260301a", "EARLYWARNING", 0, FIRST_MAP),
        lvk("S260301a", "PRELIMINARY", 5, FIRST_MAP),
        lvk("S260301a", "PRELIMINARY", 10, SECOND_MAP, far=2e-12),
        initial,
        as_avro(initial),
        update,
        as_avro(update),
        with_coincidence(update, 524666471),
        with_coincidence(update, 524666471, FIRST_MAP),
        lvk("S260301b", "PRELIMINARY", 5, FIRST_MAP),
        lvk("S260301b", "RETRACTION", 30),
        lvk("S260301b", "UPDATE", 60, SECOND_MAP),
        lvk("S260301c", "PRELIMINARY", 5),
        lvk("S260301c", "INITIAL", 50, FIRST_MAP, search="MDC"),
        *(make(revision) for make in (icecube, icecube_voevent) for revision in (0, 1)),
        fermi("initial", 1),
        fermi("update", 3),
        fermi("update", 3, 524666472),
        snews(1, burst, "COINC_MSG"),
        snews(2, {**burst, "JUNO": "02:29:59.99"}),
        snews(3, burst, "RETRACTION"),
        snews_gcn(1, burst),
        snews_gcn(2, {**burst, "JUNO": "02:30:00.01"}, "update"),
        circular(45001, "LIGO/Virgo/KAGRA S260301a: GRB 260301A = bn260301104", eventId="S260301a"),
        circular(45002, "GRB 260301A: Fermi GBM", eventId="GRB 260301A"),
        circular(45002, "GRB 260301B: Fermi GBM (name corrected)", 2, eventId="GRB 260301B"),
        circular(45002, "GRB 260301B (= S260301c): Fermi GBM", 3, eventId="GRB 260301B"),
        circular(45003, "IceCube-260301A (aka KM3-260301A): a track", eventId="IceCube-260301A"),
    ]


def wipe(database: Database) -> None:
    """Empty every table, so that one store serves many orders."""
    from sqlmodel import SQLModel

    with database.write() as session:
        for name, found in SQLModel.metadata.tables.items():
            if name != "alembic_version":
                session.execute(delete(found))


def drain(ctx: Context) -> None:
    while intake.run(ctx):
        pass


def feed(ctx: Context, some: list[Message], sizes: list[int]) -> None:
    """Send the messages in batches of the given sizes (the last one takes the rest)."""
    start = 0
    for size in [*sizes, len(some)]:
        batch = some[start : start + size]
        send(ctx, batch, first_offset=start)
        drain(ctx)
        start += size


_TIMES_OF_RECEIPT = frozenset(
    {"id", "notice_id", "received_at", "first_received_at", "updated_at", "cause_id"}
    | {"current_alert_id"}
)


def state(database: Database) -> dict[str, list[Any]]:
    """Everything that the notices say, without when and as what they were received."""
    with database.read() as session:
        found = {
            row.__tablename__: sorted(
                (
                    {
                        name: value
                        for name, value in found.model_dump(mode="json").items()
                        if name not in _TIMES_OF_RECEIPT
                    }
                    for found in session.execute(select(row)).scalars()
                ),
                key=lambda line: json.dumps(line, sort_keys=True),
            )
            for row in (EventRow, AlertRow, EventNameRow, CircularRow, CircularNameRow)
        }
        found["localization"] = sorted(session.execute(select(LocalizationRow.id)).scalars())
        found["current"] = sorted(
            (row.event_id, row.alert_type, row.time_created.isoformat())
            for row in session.execute(
                select(AlertRow.event_id, AlertRow.alert_type, AlertRow.time_created).join(
                    EventRow, EventRow.current_alert_id == AlertRow.id
                )
            )
        )
    return found
