"""GCN circulars (``gcn.circulars`` on GCN): prose, kept and linked to the events it names.

Schema: https://gcn.nasa.gov/schema/stable/gcn/circulars.schema.json. An edited circular is
published again under its number with a higher ``version``; the whole archive of recent ones
is sent again every Monday. Identity is (number, version), so both are harmless.

Names are looked for in ``eventId`` and in the subject, where GCN itself looks for them; the
text is full of other events. Only one thing is taken from the text: the trigger's number in
the sentence by which Fermi GBM and Swift BAT announce a burst, because no notice of theirs
carries the burst's name.

Two names are synonyms only where that is stated: ``A = B``, ``A (aka B)``, ``A (B)`` and the
sentence above. Names that merely stand side by side are not: a subject names a candidate
counterpart and its event in one breath.

E-mail addresses are left out of what is kept here for people to read; the bytes as received
keep them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from listeners.base import Source
from listeners.fields import finite, json_object, shown, storable, text
from mmcoord.errors import BadNotice
from mmcoord.records import Circular

__all__ = ["SOURCE", "names_in", "parse", "synonyms_in", "without_addresses"]

_MAX_SUBJECT = 2000
_MAX_BODY = 1_000_000
_MAX_NUMBER = 2**31
_MAX_NAMES = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ADDRESS = re.compile(r"(?<![\w.%+'-])[\w.%+'-]++@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_WITHHELD = "(address withheld)"

_NAME = re.compile(
    r"""(?<![A-Za-z0-9])(?:
      [MT]?S\d{6}[a-z]{1,3}                      # superevent of LVK
    | GW[ _-]?\d{6}(?:_\d{6})?                   # event of a catalogue of LVK
    | (?:GRB|XRF)[ _-]?\d{6,8}[A-Za-z]?          # burst
    | FRB[ _-]?\d{6,8}[A-Za-z]{0,4}
    | (?:AT|SN|TDE)[ _-]?(?:19|20)\d{2}[A-Za-z]{1,5}
    | IceCube(?:[ _-]?Cascade)?[ _-]?\d{6}[A-Z]?
    | KM3(?:NeT)?[ _-]?\d{6}[A-Z]?
    | EP[ _-]?\d{6}[a-z]?
    | (?:ZTF|GOTO|ATLAS|PS|DG)\d{2}[a-z]{3,8}
    | (?:Swift|MAXI|EP|SVOM|IGR)[ ]?J\d{4,6}(?:\.\d)?[+-]\d{2,6}
    | sb\d{8}                                    # trigger of SVOM
    | bn\d{9}                                    # trigger of Fermi GBM
    )(?![A-Za-z0-9])""",
    re.VERBOSE,
)
_STATED = re.compile(
    r"""\s*(?:
      =
    | \(?\s*(?:a\.?\s?k\.?\s?a\.?|also\ known\ as|alias)[ ,:]\s*
    | \(\s*=?\s*
    )\s*""",
    re.VERBOSE | re.IGNORECASE,
)
_OPTICAL = re.compile(r"AT|SN|TDE|ZTF|GOTO|ATLAS|PS|DG")
_GBM = re.compile(r"(GRB \d{6}[A-Z]?)\s*\(trigger (\d{9})(?:\.\d+)?\s*/\s*(\d{9})\b")
_BAT = re.compile(
    r"\bBAT\b\)?[^()]{0,200}?(GRB \d{6}[A-Z]?)\s*\(trigger ?[=#]?\s?(\d{6,8})\)", re.S
)


def parse(payload: bytes) -> list[Circular]:
    """Read one circular.

    Raises
    ------
    BadNotice
        With the field at fault; nothing else.
    """
    notice = json_object(payload)
    subject = _prose(notice, "subject", _MAX_SUBJECT)
    body = _prose(notice, "body", _MAX_BODY)
    event = [text(notice["eventId"], "eventId")[:200]] if notice.get("eventId") else []
    announced = _announced(body)
    names = [*event, *names_in(subject), *(name for group in announced for name in group)]
    return [
        Circular(
            circular_id=_whole(notice, "circularId"),
            version=_whole(notice, "version") if notice.get("version") is not None else 1,
            subject=without_addresses(subject),
            body=without_addresses(body),
            submitter=_author(_prose(notice, "submitter", _MAX_SUBJECT)),
            created_at=_moment(notice, "createdOn"),
            edited_at=None if notice.get("editedOn") is None else _moment(notice, "editedOn"),
            event_names=tuple(dict.fromkeys(names))[:_MAX_NAMES],
            synonyms=(*synonyms_in(subject), *announced),
        )
    ]


SOURCE = Source(
    name="gcn_circulars",
    parse=parse,
    topics=("gcn.circulars",),
    description="GCN circulars, JSON: linked to the events that they name",
)


def names_in(prose: str) -> tuple[str, ...]:
    """Names of events in a line, as written, in their order."""
    return tuple(dict.fromkeys(found.group() for found in _NAME.finditer(prose)))[:_MAX_NAMES]


def synonyms_in(prose: str) -> tuple[tuple[str, ...], ...]:
    """Groups of names that a line says are one: with ``=``, "aka", or the second in brackets."""
    groups: list[list[str]] = []
    before: re.Match[str] | None = None
    for found in _NAME.finditer(prose):
        if before is not None and _is_stated(prose, before, found):
            groups[-1].append(found.group())
        else:
            groups.append([found.group()])
        before = found
    return tuple(tuple(dict.fromkeys(group)) for group in groups if len(set(group)) > 1)


def _is_stated(prose: str, one: re.Match[str], other: re.Match[str]) -> bool:
    """Whether what stands between and behind two names says that they are one.

    ``A (B)`` does, unless B is an optical transient and A is not: a candidate counterpart
    is written so too. ``A (B candidate)`` does not.
    """
    between = prose[one.end() : other.start()]
    if not _STATED.fullmatch(between):
        return False
    if between.strip() != "(":
        return True
    is_alone = re.match(r"\s*(?:\)|=)", prose[other.end() :]) is not None
    optical = [_OPTICAL.match(found.group()) is not None for found in (one, other)]
    return is_alone and optical[0] == optical[1]


def _announced(body: str) -> tuple[tuple[str, ...], ...]:
    """(burst, its trigger as events are named here), from the sentence of the discoverer."""
    gbm = [(m[1], f"Fermi-GBM-{m[2]}", f"bn{m[3]}") for m in _GBM.finditer(body[:20_000])]
    bat = [(m[1], f"Swift-BAT-{m[2]}") for m in _BAT.finditer(body[:20_000])]
    groups: list[tuple[str, ...]] = [*gbm, *bat]
    return tuple(dict.fromkeys(groups))[:_MAX_NAMES]


def without_addresses(prose: str) -> str:
    """Text with e-mail addresses replaced by a note."""
    return _ADDRESS.sub(_WITHHELD, prose)


def _author(submitter: str) -> str:
    """``A. Einstein at IAS <albert@example.edu>`` without the address."""
    return without_addresses(re.sub(r"\s*<[^<>]*@[^<>]*>", "", submitter)).strip() or _WITHHELD


def _prose(notice: Mapping[str, Any], key: str, longest: int) -> str:
    value = notice.get(key)
    if not isinstance(value, str):
        raise BadNotice(f"text is needed, not {shown(value)}", where=key)
    if len(value) > longest:
        raise BadNotice(f"{len(value)} characters, more than {longest}", where=key)
    return storable(value)


def _whole(notice: Mapping[str, Any], key: str) -> int:
    number = finite(notice.get(key), key)
    if number != int(number) or not 0 < number < _MAX_NUMBER:
        raise BadNotice(f"{shown(notice.get(key))} is no number of a circular", where=key)
    return int(number)


def _moment(notice: Mapping[str, Any], key: str) -> datetime:
    """Milliseconds since 1970."""
    number = finite(notice.get(key), key)
    if not 0 <= number < 5e12:
        raise BadNotice(f"{number!r} ms since 1970 is no time of a circular", where=key)
    return _EPOCH + timedelta(milliseconds=number)
