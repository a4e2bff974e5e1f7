"""Values as people read them. Pure; what is not known is an en dash, never zero."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from mmcoord.timescales import JULIAN_YEAR_S, mjd_utc

__all__ = [
    "NOT_KNOWN",
    "ago",
    "amount",
    "dec_sexagesimal",
    "distance",
    "duration",
    "factor",
    "far",
    "iso",
    "mjd",
    "percent",
    "probability",
    "ra_sexagesimal",
    "score",
    "top_class",
    "utc",
    "visible",
]

NOT_KNOWN = "–"
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def visible(value: Any) -> Any:
    """Text with invisible and direction-changing characters spelled out.

    A name from outside could otherwise be shown as another name (``\\u202e`` turns what
    follows around). The template engine applies this to everything it prints.
    """
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", value)


def _sexagesimal(value: float, decimals: int) -> tuple[int, int, float]:
    """Whole, minutes and seconds of a value >= 0, rounded once so that 60 never shows."""
    scale = 10**decimals
    units = round(value * 3600 * scale)
    minutes, seconds = divmod(units, 60 * scale)
    whole, minutes = divmod(minutes, 60)
    return whole, minutes, seconds / scale


def ra_sexagesimal(ra_deg: float) -> str:
    """Right ascension as ``13:09:48.08``."""
    hours, minutes, seconds = _sexagesimal(ra_deg / 15.0, 2)
    return f"{hours % 24:02d}:{minutes:02d}:{seconds:05.2f}"


def dec_sexagesimal(dec_deg: float) -> str:
    """Declination as ``-23:22:53.3``."""
    degrees, minutes, seconds = _sexagesimal(abs(dec_deg), 1)
    sign = "-" if dec_deg < 0 else "+"
    return f"{sign}{degrees:02d}:{minutes:02d}:{seconds:04.1f}"


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def amount(value: float | None, digits: int = 3) -> str:
    """A number to ``digits`` significant digits, without exponent where it stays readable."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    places = digits - 1 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(places, 0)}f}"


def probability(value: float | None) -> str:
    """Three places; no inference is so sure that it would read as 0 or 1."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    if value < 0.001:
        return "<0.001"
    return ">0.999" if value > 0.999 else f"{value:.3f}"


def factor(value: float | None) -> str:
    """A factor of a score: like a probability, but exactly 0 and 1 are what they are."""
    return f"{value:.0f}" if value in (0.0, 1.0) else probability(value)


def score(value: float) -> str:
    """A score to three digits; what would need an exponent is only said to be small."""
    return "<0.0001" if 0.0 < value < 1e-4 else amount(value)


def percent(value: float | None) -> str:
    """A fraction as a percentage with one place."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    return f"{100 * value:.1f}\u00a0%"


def distance(mean_mpc: float | None, std_mpc: float | None) -> str:
    """``39.8 ± 7.6 Mpc``."""
    if not _known(mean_mpc):
        return NOT_KNOWN
    spread = f" ± {amount(std_mpc, 2)}" if _known(std_mpc) else ""
    return f"{amount(mean_mpc)}{spread} Mpc"


def far(far_hz: float | None) -> str:
    """A false-alarm rate as the mean time between false alarms."""
    if far_hz is None or not math.isfinite(far_hz):
        return NOT_KNOWN
    if far_hz <= 0:
        return "0 Hz as stated"
    years = 1.0 / (far_hz * JULIAN_YEAR_S)
    if years >= 1e12:
        return f"1 per {years:.0e} yr"
    if years >= 1:
        rounded = f"{float(f'{years:.2g}'):,.0f}" if years >= 10 else amount(years, 2)
        return f"1 per {rounded} yr"
    days = years * 365.25
    return f"1 per {amount(days, 2)} d" if days >= 1 else f"{amount(1 / days, 2)} per d"


def duration(seconds: float | None) -> str:
    """A span of time in the unit that suits it."""
    if seconds is None or not math.isfinite(seconds):
        return NOT_KNOWN
    sign, span = ("-" if seconds < 0 else ""), abs(seconds)
    if span < 0.9995:
        return f"{sign}{1000 * span:.0f} ms"
    for limit, unit, name in ((99.5, 1.0, "s"), (5970.0, 60.0, "min"), (172800.0, 3600.0, "h")):
        if span < limit:
            return f"{sign}{amount(span / unit, 2)} {name}"
    days = span / 86400.0
    return f"{sign}{amount(days)} d" if days < 730 else f"{sign}{days / 365.25:.1f} yr"


def ago(then: datetime | None, now: datetime) -> str:
    """How long ago."""
    if then is None:
        return NOT_KNOWN
    seconds = (now - then).total_seconds()
    return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def iso(moment: datetime | None) -> str:
    """ISO 8601 with ``Z``, for machines; empty when not known."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else ""


def mjd(moment: datetime) -> str:
    """``61368.199120``, on the UTC scale, to a tenth of a second."""
    return f"{mjd_utc(moment):.6f}"


def utc(moment: datetime | str | None) -> str:
    """``2027-03-04 04:59:08``; the column or label says UTC."""
    if moment is None:
        return NOT_KNOWN
    if isinstance(moment, str):
        try:
            parsed = datetime.fromisoformat(moment)
        except ValueError:
            return str(moment)
    else:
        parsed = moment
    shown = parsed.astimezone(UTC) if parsed.tzinfo else parsed
    return shown.strftime("%Y-%m-%d %H:%M:%S")


def top_class(classification: dict[str, float] | None) -> str:
    """The most probable class with its probability: ``BNS 95 %``."""
    if not classification:
        return NOT_KNOWN
    name, value = max(classification.items(), key=lambda item: (item[1], item[0]))
    return f"{name} {100 * value:.0f}\u00a0%"
