"""VOEvents of GCN Classic: units, test marks, hostile XML, and agreement with the JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings

from listeners import gcn_unified
from listeners.voevent import parse
from mmcoord.errors import BadInput, BadNotice
from mmcoord.records import Alert, AlertType, ErrorRegion, Messenger
from tests.listeners.test_gcn_unified import track
from tests.listeners.test_igwn import edits, mutated
from tests.shared import shared

TRACK = """<?xml version="1.0" encoding="UTF-8"?>
<voe:VOEvent ivorn="ivo://nasa.gsfc.gcn/AMON#ICECUBE_GOLD_Event2027-04-16T05:22:26_24_137840_1_0"
  role="observation" version="2.0" xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0">
 <Who><Date>2027-04-16T05:23:00</Date></Who>
 <What>
  <Param name="Packet_Type" value="173"/>
  <Param name="run_id" value="137840"/>
  <Param name="event_id" value="057034692"/>
  <Param name="Rev" value="0"/>
  <Param name="signalness" value="0.5"/>
  <Param name="FAR" value="2.0" unit="yr^-1"/>
  <Group name="Trigger_ID">
   <Param name="Test" value="false"/>
   <Param name="Retraction" value="false"/>
  </Group>
 </What>
 <WhereWhen><ObsDataLocation><ObservationLocation><AstroCoords>
  <Time><TimeInstant><ISOTime>2027-04-16T05:22:26.15</ISOTime></TimeInstant></Time>
  <Position2D><Value2><C1>345.82</C1><C2>9.01</C2></Value2>
   <Error2Radius>0.5</Error2Radius></Position2D>
 </AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen>
</voe:VOEvent>
"""


def read(xml: str = TRACK, *changes: tuple[str, str]) -> Alert:
    for old, new in changes:
        assert old in xml
        xml = xml.replace(old, new)
    (alert,) = parse(xml.encode())
    return alert


def test_track_alert():
    alert = read()
    assert alert.event_id == "IceCube-137840_57034692"
    assert alert.messenger is Messenger.NEUTRINO
    assert alert.alert_type is AlertType.INITIAL
    assert alert.time_created == datetime(2027, 4, 16, 5, 23, tzinfo=UTC)
    assert alert.event_time == datetime(2027, 4, 16, 5, 22, 26, 150000, tzinfo=UTC)
    assert alert.region == ErrorRegion(345.82, 9.01, 0.5, 0.5, 0.0, 0.9)
    assert alert.pipeline == "ICECUBE_GOLD_Event"
    assert alert.extra["params"]["signalness"] == "0.5"
    assert not alert.is_practice


def test_rate_is_converted_by_its_unit():
    """Two a year; a year of 365.25 days."""
    assert read().far_hz == pytest.approx(2 / (365.25 * 86400))
    assert read(TRACK, ("yr^-1", "Hz")).far_hz == 2.0
    with pytest.raises(BadNotice, match="unit 'fortnight'"):
        read(TRACK, ("yr^-1", "fortnight"))


def test_the_json_notice_is_of_the_same_event():
    (as_json,) = gcn_unified.parse(json.dumps(track()).encode())
    assert read().event_id == as_json.event_id


@pytest.mark.parametrize(
    ("change", "alert_type"),
    [
        (('"Rev" value="0"', '"Rev" value="1"'), AlertType.UPDATE),
        (('"Retraction" value="false"', '"Retraction" value="true"'), AlertType.RETRACTION),
        (
            (
                "</WhereWhen>",
                '</WhereWhen><Citations><EventIVORN cite="retraction">i</EventIVORN></Citations>',
            ),
            AlertType.RETRACTION,
        ),
    ],
)
def test_types(change, alert_type):
    assert read(TRACK, change).alert_type is alert_type


@pytest.mark.parametrize(
    "change",
    [
        ('role="observation"', 'role="test"'),
        ('role="observation"', 'role="utility"'),
        ('name="Test" value="false"', 'name="Test" value="true"'),
        ('name="Test" value="false"', 'name="InternalTest" value="True"'),
        ('name="Test" value="false"', 'name="Test_Submission" value="1"'),
    ],
)
def test_one_mark_of_a_test_is_enough(change):
    alert = read(TRACK, change)
    assert alert.is_practice
    assert alert.event_id != read().event_id


def test_whole_sky_at_zero_is_no_position():
    nowhere = read(
        TRACK, ("345.82", "0.0000"), ("9.01", "0.0000"), (">0.5</Error2", ">360.0</Error2")
    )
    assert nowhere.region is None


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (("ivo://nasa.gsfc.gcn/AMON#", "AMON "), "ivorn"),
        (("/AMON#", "/LVC#"), "ivorn"),
        (('role="observation"', 'role="party"'), "role"),
        (('"run_id" value="137840"', '"run_id" value="x"'), "What.run_id"),
        (('name="run_id"', 'name="run"'), "What"),
        (("<Date>2027-04-16T05:23:00</Date>", ""), "Who.Date"),
        (("2027-04-16T05:22:26.15<", "soon<"), "WhereWhen.ISOTime"),
        (("345.82", "445.82"), "ra, dec"),
        (("345.82", "nan"), "WhereWhen.ra"),
        (("9.01", "north"), "WhereWhen.dec"),
        ((">0.5</Error2", ">-1</Error2"), "ra_dec_error"),
        (('value="2.0"', 'value="-2"'), "What.FAR"),
        (('value="2.0"', 'value="inf"'), "What.FAR"),
        (("voe:VOEvent", "voe:Other"), "payload"),
        (("UTF-8", "EBCDIC-9"), "payload"),
    ],
)
def test_refusals_name_the_place(change, where):
    with pytest.raises(BadNotice) as caught:
        read(TRACK, change)
    assert caught.value.where == where


BOMB = '<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize("doctype", [BOMB, OUTSIDE, '<!DOCTYPE a SYSTEM "http://x.invalid/d">'])
def test_document_types_are_refused(doctype):
    with pytest.raises(BadNotice, match="document type"):
        read(TRACK.replace("<voe:VOEvent", doctype + "<voe:VOEvent", 1))


def test_size_depth_and_number_are_bounded():
    deep = "<a>" * 100_000 + "</a>" * 100_000
    many = "".join(f'<Param name="p{i}" value="1"/>' for i in range(2000))
    assert parse(TRACK.replace("<Who>", f"<Deep>{deep}</Deep><Who>").encode())
    with pytest.raises(BadNotice, match="parameters"):
        read(TRACK, ("<What>", "<What>" + many))
    with pytest.raises(BadNotice, match="bytes, more than"):
        read(TRACK + " " * 2**20)


@settings(max_examples=300, deadline=None)
@given(edits)
def test_mutated_xml_is_refused_or_sound(changes):
    try:
        alerts = parse(mutated(TRACK.encode(), changes))
    except BadInput:
        return
    assert all(alert.event_id and alert.time_created.tzinfo for alert in alerts)


# --- missions that differ -------------------------------------------------------------------

SVOM = """<?xml version="1.0" encoding="UTF-8"?>
<voe:VOEvent ivorn="ivo://org.svom/fsc#sb26030101_eclairs-wakeup"
  role="observation" version="2.0" xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0">
 <Who><Date>2026-03-01T02:31:00+00:00</Date></Who>
 <What>
  <Param name="Packet_Type" value="202"/>
  <Param name="Instrument" value="ECLAIRs"/>
  <Group name="Svom_Identifiers"><Param name="Notice_Level" value="N1e"/>
   <Param name="Burst_Id" value="sb26030101"/></Group>
 </What>
 <WhereWhen><ObsDataLocation><ObservationLocation><AstroCoords>
  <Time><TimeInstant><ISOTime>2026-03-01T02:30:21.314000</ISOTime></TimeInstant></Time>
  <Position2D><Value2><C1>337.5347</C1><C2>-0.3918</C2></Value2>
   <Error2Radius>0.1962</Error2Radius></Position2D>
 </AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen>
</voe:VOEvent>
"""


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        ("eclairs-wakeup", AlertType.INITIAL),
        ("eclairs-catalog", AlertType.INITIAL),
        ("grm-trigger", AlertType.INITIAL),
        ("eclairs-slewing", AlertType.UPDATE),
        ("mxt-initial_qf1", AlertType.UPDATE),
        ("retraction", AlertType.RETRACTION),
    ],
)
def test_svom_notices_of_one_burst_are_one_event(ending, kind):
    alert = read(SVOM, ("eclairs-wakeup", ending))
    assert alert.alert_type is kind
    assert alert.event_id == "SVOM-sb26030101"
    made = {
        "$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/svom/trigger.schema.json",
        "instrument": "ECLAIRs",
        "id": ["sb26030101"],
        "alert_datetime": "2026-03-01T02:31:00Z",
    }
    (as_json,) = gcn_unified.parse(json.dumps(made).encode())
    assert as_json.event_id == alert.event_id


def test_svom_without_a_position():
    position = SVOM[SVOM.index("<Position2D>") : SVOM.index("</AstroCoords>")]
    assert read(SVOM, (position, "")).region is None
    assert read(SVOM).region == ErrorRegion(337.5347, -0.3918, 0.1962, 0.1962, 0.0, 0.9)


@pytest.mark.parametrize(("value", "rate"), [("8.029e-8", 8.029e-8), ("6.0", 6.0 / 31557600)])
def test_km3nets_label_of_its_rate_is_wrong(value, rate):
    """One alert a month is 3.9e-7 Hz or 12 a year: the value tells which it is."""
    changes = [
        ("nasa.gsfc.gcn/AMON#ICECUBE_GOLD_Event", "km3net/KM3NeT#alert"),
        ('"FAR" value="2.0"', f'"FAR" value="{value}"'),
        ('name="run_id"', 'name="run"'),
    ]
    alert = read(TRACK, *changes)
    assert alert.event_id == "KM3NeT-057034692"
    assert alert.messenger is Messenger.NEUTRINO
    assert alert.far_hz == pytest.approx(rate)


def test_super_ks_true_radius_is_a_parameter():
    """SK_SN sends Error2Radius 0; 118 deg must not become the least radius there is."""
    burst = read(
        TRACK,
        ("AMON#ICECUBE_GOLD_Event", "SK_SN#Event_"),
        ('name="run_id"', 'name="Trigger_Number"'),
        ('<Param name="Rev" value="0"/>', '<Param name="Src_Error90" value="118.0"/>'),
        (">0.5</Error2", ">0.0000</Error2"),
    )
    assert burst.event_id == "Super-K-137840"
    assert burst.region == ErrorRegion(345.82, 9.01, 118.0, 118.0, 0.0, 0.9)


def test_a_cascades_map_is_a_link():
    url = "https://roc.icecube.wisc.edu/public/hese_cascades/cascade.fits"
    changed = ("</What>", f'<Param name="skymap_fits" value="{url}"/></What>')
    alert = read(TRACK, ("ICECUBE_GOLD_Event", "ICECUBE_Cascade_Event"), changed)
    assert alert.urls == {"healpix_url": url}
    assert alert.event_id == read().event_id
    assert read().urls == {}


# --- real notices -----------------------------------------------------------------------------


def real(path: str) -> Alert:
    (alert,) = parse(shared(path).read_bytes())
    return alert


@pytest.mark.parametrize(
    ("name", "event_id", "per_year"),
    [
        ("AMON_ICECUBE_BRONZE_190819", "IceCube-132974_67924813", 3.8699),
        ("fink_3028", "IceCube-136918_45252263", 1.8772),
        ("fink_45412", "IceCube-137467_64735045", 0.2464),
    ],
)
def test_real_icecube_alerts(name, event_id, per_year):
    alert = real(f"nu/icecube_voevent/{name}.xml")
    assert alert.event_id == event_id
    assert alert.far_hz == pytest.approx(per_year / 31557600)
    assert alert.region is not None
    assert not alert.is_practice


def test_real_snews_notices_have_no_position_and_the_drill_is_known():
    earnest, drill = (real(f"gw/gwcelery_snews_gcn{end}.xml") for end in ("", "_test"))
    assert (earnest.is_practice, drill.is_practice) == (False, True)
    assert earnest.region is None
    assert earnest.event_time == datetime(2018, 9, 18, 16, 0, 1, tzinfo=UTC)
    assert earnest.event_id != drill.event_id


def test_real_burst_notices():
    ground, final = (real(f"gw/growth_GRB180116A_Fermi_GBM_{n}_Pos.xml") for n in ("Gnd", "Fin"))
    assert ground.event_id == final.event_id == "Fermi-GBM-537755817"
    assert ground.order_key < final.order_key
    assert final.region is not None
    assert final.region.containment == 0.68
    assert real("gw/gwcelery_swift_grb_gcn.xml").event_id == "Swift-BAT-1123129"
