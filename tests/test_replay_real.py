"""Every notice file of the real data, through the replay and intake: the right record.

The table says what each file is, from the file's own text or its name; the folders are walked,
so that no file can be missing from the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from mmcoord.replay import feed, messages
from mmcoord.stages.context import Context
from mmcoord.store.tables import (
    AlertRow,
    CandidateRow,
    CircularRow,
    DeadLetterRow,
    EventRow,
    LocalizationRow,
    NoticeRow,
)
from tests.making import make_context
from tests.shared import have_shared, shared
from tests.stages.orders import drain, wipe
from tests.stores import migrated

INITIAL, UPDATE, RETRACTION = "INITIAL", "UPDATE", "RETRACTION"
MAP_3D, MAP_2D, CIRCLE, NOWHERE = "3D map", "2D map", "circle", "nowhere"


@dataclass(frozen=True)
class Is:
    """What a file must become."""

    event: str
    kind: str
    place: str
    practice: bool = False
    significant: bool | None = None
    source: str = "gcn_unified"
    letter: str = ""
    """Beginning of the dead letter that its broken map leaves."""


def lvk(event: str, kind: str, place: str, significant: bool | None) -> Is:
    return Is(event, kind, place, event.startswith("M"), significant, "igwn")


_BBH = {"S240112w": MAP_3D}
"""The compact binary among the low-significance events; the others are bursts (cWB)."""
UNIFIED = "gw/gcn-schema/gcn/notices"
SNEWS_EVENT, SNEWS_DRILL = (
    Is(f"SNEWS-1000194{end}", INITIAL, NOWHERE, bool(end), source="voevent")
    for end in ("", "-TEST")
)
SUPER_K = {
    "sn_alert.real": Is("Super-K-SN.095001.000001", INITIAL, CIRCLE),
    "sn_alert.test": Is("Super-K-SN.095001.000001-TEST", INITIAL, CIRCLE, True),
}
ICECUBE = {
    "lvk_nu_track_search": Is("IceCube-LVK-S230914ak", INITIAL, NOWHERE),
    "single_neutrino_alerts.gold_bronze_track_alerts": Is(
        "IceCube-137840_57034692", INITIAL, CIRCLE
    ),
}
KM3NET = {
    "alert": Is("KM3NeT-1", INITIAL, CIRCLE),
    "alert.multiplet": Is("KM3NeT-2", INITIAL, CIRCLE),
}
GBM, GUANO, MAXI = "Fermi-GBM-745121685", "Swift-GUANO-694215995", "MAXI-GSC-9995289617"
SVOM = "SVOM-sb24022203-TEST"

FILES: dict[str, Is] = {
    # The sequence of LVK's user guide: a mock event with GW170817's map.
    **{
        f"gw/MS181101ab-{name}": lvk("MS181101ab", kind, place, significant)
        for name, kind, place, significant in (
            ("earlywarning.json", "EARLYWARNING", MAP_3D, True),
            ("preliminary.json", "PRELIMINARY", MAP_3D, True),
            ("preliminary.avro", "PRELIMINARY", MAP_3D, True),
            ("initial.json", INITIAL, MAP_3D, True),
            ("update.json", UPDATE, MAP_3D, True),
            ("ext-update.json", UPDATE, MAP_3D, True),
            ("ext-update.avro", UPDATE, MAP_3D, True),
            ("retraction.json", RETRACTION, NOWHERE, None),
            ("retraction.avro", RETRACTION, NOWHERE, None),
        )
    },
    "gw/S230518h/initial.json": lvk("S230518h", INITIAL, MAP_3D, True),
    "gw/S230518h/update.json": lvk("S230518h", UPDATE, MAP_3D, True),
    "gw/S230518h/test.json": lvk("MS230518e", INITIAL, MAP_3D, True),
    **{
        f"gw/o4_low_significance/{event}_PRELIMINARY_{when}Z.json": lvk(
            event, "PRELIMINARY", _BBH.get(event, MAP_2D), False
        )
        for event, whens in {
            "S240112e": ("2024-01-12T010901", "2024-01-12T011334"),
            "S240112w": ("2024-01-12T125931", "2024-01-12T130405"),
            "S240112y": ("2024-01-12T130540", "2024-01-12T131014"),
            "S240114n": ("2024-01-14T153639", "2024-01-14T154113"),
            "S240115k": ("2024-01-15T093004", "2024-01-15T093505"),
            "S240115n": ("2024-01-15T100615", "2024-01-15T101049"),
        }.items()
        for when in whens
    },
    # VOEvents of GCN Classic.
    "gw/growth_GRB180116A_Fermi_GBM_Gnd_Pos.xml": Is(
        "Fermi-GBM-537755817", UPDATE, CIRCLE, source="voevent"
    ),
    "gw/growth_GRB180116A_Fermi_GBM_Fin_Pos.xml": Is(
        "Fermi-GBM-537755817", UPDATE, CIRCLE, source="voevent"
    ),
    "gw/gwcelery_fermi_grb_gcn.xml": Is("Fermi-GBM-548848711", UPDATE, CIRCLE, source="voevent"),
    "gw/gwcelery_swift_grb_gcn.xml": Is("Swift-BAT-1123129", INITIAL, CIRCLE, source="voevent"),
    **{
        f"{folder}/gwcelery_snews_gcn{end}.xml": made
        for folder in ("gw", "nu/snews")
        for end, made in (("", SNEWS_EVENT), ("_test", SNEWS_DRILL))
    },
    **{
        f"nu/icecube_voevent/{name}.xml": Is(f"IceCube-{event}", INITIAL, CIRCLE, source="voevent")
        for name, event in (
            ("AMON_ICECUBE_BRONZE_190819", "132974_67924813"),
            ("fink_3028", "136918_45252263"),
            ("fink_45412", "137467_64735045"),
            ("skyportal_AMON", "136973_28816141"),
        )
    },
    # The unified schema.
    **{
        f"{folder}/{name}.example.json": made
        for folders, group in (
            ((f"{UNIFIED}/icecube", "nu/icecube_json"), ICECUBE),
            ((f"{UNIFIED}/km3net", "nu/km3net"), KM3NET),
            ((f"{UNIFIED}/superk", "nu/superk"), SUPER_K),
        )
        for folder in folders
        for name, made in group.items()
    },
    **{
        f"{UNIFIED}/{name}.example.json": made
        for name, made in {
            "burstcube/alert": Is("BurstCube-240601000", INITIAL, CIRCLE, letter="skymap: "),
            "burstcube/test": Is(
                "BurstCube-240601000-TEST", INITIAL, CIRCLE, True, letter="skymap: "
            ),
            "chime/frb.detection": Is("CHIME-FRB-427325191", INITIAL, CIRCLE),
            "chime/frb.subsequent": Is("CHIME-FRB-427325192", INITIAL, CIRCLE),
            "chime/frb.update": Is("CHIME-FRB-427325191", UPDATE, NOWHERE),
            "chime/frb.retraction": Is("CHIME-FRB-427325191", RETRACTION, NOWHERE),
            "dsa110/frb.detection": Is("DSA-110-FRB-240918aaaa", INITIAL, CIRCLE),
            "dsa110/frb.subsequent": Is("DSA-110-FRB-240918aaaa", INITIAL, CIRCLE),
            "dsa110/frb.update": Is("DSA-110-FRB-240918aaaa", UPDATE, NOWHERE),
            "dsa110/frb.retraction": Is("DSA-110-FRB-240918aaaa", RETRACTION, NOWHERE),
            "einstein_probe/wxt/alert": Is("EP-WXT-01708973486", INITIAL, CIRCLE),
            "fermi/gbm/trigger.alert": Is(GBM, INITIAL, NOWHERE),
            **{
                f"fermi/gbm/trigger.{step}": Is(GBM, UPDATE, CIRCLE)
                for step in ("flight1", "flight2", "flight3", "ground1", "ground2", "final")
            },
            "fermi/lat/flare": Is("Fermi-LAT-flare-OQ_334", INITIAL, NOWHERE),
            "glowbug/Alert": Is("GLOWBUG-BUG230423.789", INITIAL, NOWHERE),
            "maxi/gsc.known": Is("MAXI-GSC-0858800020", INITIAL, NOWHERE),
            "maxi/gsc.known.retraction": Is("MAXI-GSC-0858800020", RETRACTION, NOWHERE),
            "maxi/gsc.unknown.circle": Is(MAXI, UPDATE, CIRCLE),
            "maxi/gsc.unknown.ellipse": Is(MAXI, UPDATE, CIRCLE),
            "maxi/gsc.unknown.rectangle": Is(MAXI, UPDATE, CIRCLE),
            "maxi/gsc.unknown.noerror": Is(MAXI, INITIAL, NOWHERE),
            "maxi/gsc.unknown.retraction": Is(MAXI, RETRACTION, NOWHERE),
            "svom/grm/trigger": Is(SVOM, INITIAL, CIRCLE, True),
            "svom/eclairs/trigger.catalog": Is(SVOM, INITIAL, CIRCLE, True),
            "svom/eclairs/trigger.wakeup": Is(SVOM, INITIAL, CIRCLE, True),
            "svom/eclairs/trigger.slewing": Is(SVOM, UPDATE, CIRCLE, True),
            "svom/eclairs/trigger.not-slewing": Is(SVOM, UPDATE, CIRCLE, True),
            "swift/bat/Guano": Is(GUANO, INITIAL, NOWHERE),
            "swift/bat/guano.loc_arc_min": Is(GUANO, UPDATE, CIRCLE),
            "swift/bat/guano.loc_map": Is(GUANO, UPDATE, NOWHERE, letter="skymap: "),
            "swift/bat/Guano.Retraction": Is(GUANO, RETRACTION, NOWHERE),
        }.items()
    },
    # SNEWS 2: the fire drill of 2022-09-28, all seven detectors.
    "nu/snews/fd_sep_alert.json": Is(
        "SNEWS2-20220614T2000-TEST", UPDATE, NOWHERE, True, source="snews2"
    ),
}

OTHER_RECORDS = {
    "gw/gcn-schema/gcn/circulars.example.json": "a circular",
    f"{UNIFIED}/boom/alert.example.json": "candidates",
}
"""Files that become something else than an alert; each has a test of its own."""

REFUSED = {
    f"{UNIFIED}/heasarc/archive_alert.example.json": "an archived pointing without an event",
    "gw/MS220722v_voevent.xml": "GraceDB's JSON of a superevent, whatever its name says",
    "nu/snews/fd2209b-data.json": "two lines of a drill's log; the alert is fd_sep_alert.json",
    **{
        f"nu/snews/{name}.json": "what an experiment sends to SNEWS, not what SNEWS sends"
        for name in (
            *(f"fd2209b-msg{number}" for number in range(1, 8)),
            *(
                f"example_{kind}_message"
                for kind in (
                    "coincidence_tier",
                    "combined",
                    "heartbeat",
                    "significance_tier",
                    "timing_tier",
                )
            ),
        )
    },
    **{
        f"nu/snews/gwcelery_igwn_alert_snews{end}_creation.json": "a message inside LVK (LVAlert)"
        for end in ("", "_test")
    },
    **{
        f"nu/snews/{name}.json": "input of SNEWS' own tests"
        for name in ("coincidence_scenarios", "pt_scenarios", "time_formats")
    },
    **{
        f"{UNIFIED}/core/{name}.example.json": "a part of a notice, not a whole one"
        for name in ("Localization", "Pointing", "Reporter", "Spectral", "Statistics")
    },
}
"""Not a notice, with the reason; the replay must say so in a dead letter."""


def test_no_notice_file_is_missing_from_the_table() -> None:
    listed = FILES.keys() | OTHER_RECORDS.keys() | REFUSED.keys()
    root = shared("gw").parent
    there = {
        str(path.relative_to(root))
        for top in ("gw", "nu")
        for path in (root / top).rglob("*")
        if path.suffix in (".json", ".avro", ".xml") and not path.name.endswith(".schema.json")
    }
    assert there == listed


@pytest.fixture(scope="module")
def ctx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    folder = tmp_path_factory.mktemp("replays")
    database = migrated(f"sqlite:///{folder / 'replays.db'}")
    yield make_context(database, folder / "out")
    database.close()


def replay(ctx: Context, *files: str) -> None:
    wipe(ctx.database)
    feed(ctx, messages([shared(file) for file in files], ctx.sources))
    drain(ctx)


def place_of(ctx: Context, alert: AlertRow, payload: bytes) -> str:
    if alert.localization_id is None:
        return NOWHERE
    with ctx.database.read() as session:
        place = session.get(LocalizationRow, alert.localization_id)
    assert place is not None
    if re.search(rb'"skymap": ?"|Obj\x01', payload):
        return MAP_3D if place.is_3d else MAP_2D
    return CIRCLE


@pytest.mark.parametrize("file", FILES)
def test_a_notice_file_becomes_the_right_record(ctx: Context, file: str) -> None:
    wanted = FILES[file]
    replay(ctx, file)
    with ctx.database.read() as session:
        (notice,) = session.execute(select(NoticeRow)).scalars()
        (alert,) = session.execute(select(AlertRow)).scalars()
        (event,) = session.execute(select(EventRow)).scalars()
        letters = list(session.execute(select(DeadLetterRow.reason)).scalars())
    found = Is(
        alert.event_id,
        alert.alert_type,
        place_of(ctx, alert, notice.payload),
        alert.is_practice,
        alert.significant,
        notice.source,
        wanted.letter,
    )
    assert found == wanted
    assert len(letters) == (1 if wanted.letter else 0)
    assert all(letter.startswith(wanted.letter) for letter in letters)
    assert event.is_practice is wanted.practice
    assert (event.state == "retracted") is (wanted.kind == RETRACTION)


@pytest.mark.parametrize("file", REFUSED)
def test_what_is_no_notice_is_a_dead_letter_with_a_reason(ctx: Context, file: str) -> None:
    replay(ctx, file)
    with ctx.database.read() as session:
        (letter,) = session.execute(select(DeadLetterRow)).scalars()
        assert session.execute(select(EventRow)).first() is None
    assert re.match(r"[A-Za-z_$.]+: .+", letter.reason), letter.reason


def test_a_circular_and_a_candidate_are_read_as_such(ctx: Context) -> None:
    replay(ctx, *OTHER_RECORDS)
    with ctx.database.read() as session:
        (circular,) = session.execute(select(CircularRow)).scalars()
        assert circular.circular_id == 33603
        assert session.execute(select(CandidateRow)).first() is not None
        assert session.execute(select(DeadLetterRow)).first() is None


@pytest.mark.parametrize("name", ["preliminary", "ext-update", "retraction"])
def test_json_of_gcn_and_avro_of_scimma_are_one_alert_with_one_map(ctx: Context, name: str) -> None:
    ends = []
    for endings in (("json",), ("avro",), ("json", "avro")):
        replay(ctx, *(f"gw/MS181101ab-{name}.{ending}" for ending in endings))
        with ctx.database.read() as session:
            (alert,) = session.execute(select(AlertRow)).scalars()
            maps = sorted(session.execute(select(LocalizationRow.id)).scalars())
        ends.append((alert.model_dump(exclude={"id", "notice_id", "received_at"}), maps))
    assert ends[0] == ends[1] == ends[2]


def test_schemas_are_left_out() -> None:
    if not have_shared():
        pytest.skip("real data not here")
    from mmcoord.stages.context import load_sources

    found = messages([shared("gw/gcn-schema")], load_sources())
    assert found
    assert not any(".schema.json" in message.topic for message in found)


def test_every_example_is_in_the_order_of_its_time(ctx: Context) -> None:
    found = messages([Path(shared("gw/gcn-schema"))], ctx.sources)
    times = [message.sent_at for message in found if message.sent_at is not None]
    assert times == sorted(times)
