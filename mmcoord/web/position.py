"""A place on the sky as people write it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mmcoord.errors import MmcoordError

__all__ = ["BadPosition", "Position", "read_position"]

_NUMBER = r"[+\-\u2212]?\d+(?:\.\d*)?"
_DEGREES = re.compile(
    rf"({_NUMBER})\s*(?:d|deg|°)?[\s,;]+({_NUMBER})\s*(?:d|deg|°)?", re.IGNORECASE
)
_SEXAGESIMAL = re.compile(
    r"(\d{1,2}\s*[h:\s]\s*\d{1,2}(?:\s*[m:\s]\s*\d{1,2}(?:\.\d*)?\s*s?|\s*m)?)[\s,;]*"
    r"([+\-\u2212]?\d{1,2}\s*[d°:\s]\s*\d{1,2}(?:\s*[m'\u2032:\s]\s*\d{1,2}(?:\.\d*)?\s*[s\"\u2033]?"
    r"|\s*[m'\u2032])?)",
    re.I,
)


class BadPosition(MmcoordError):
    """It looks like a position and is none."""


@dataclass(frozen=True, slots=True)
class Position:
    """ICRS, deg."""

    ra_deg: float
    dec_deg: float


def read_position(text: str) -> Position | None:
    """``197.45 -23.38``, ``13:09:48.1 -23:22:53``, ``13h09m48.1s -23d22m53s``.

    Two plain numbers are degrees; with parts, right ascension is in hours. None: it does not
    look like a position.

    Raises
    ------
    BadPosition
        It does, with a value that there is not on the sky.
    """
    asked = text.strip()
    if found := _DEGREES.fullmatch(asked):
        ra_deg, dec_deg = (float(part.replace("\u2212", "-")) for part in found.groups())
    elif found := _SEXAGESIMAL.fullmatch(asked):
        ra_deg, dec_deg = _angles(asked, *found.groups())
    else:
        return None
    if not (0.0 <= ra_deg < 360.0 and -90.0 <= dec_deg <= 90.0):
        raise BadPosition(
            f"{asked!r}: right ascension must be in [0, 360) deg, declination in [-90, 90] deg"
        )
    return Position(ra_deg, dec_deg)


def _angles(asked: str, ra: str, dec: str) -> tuple[float, float]:
    from astropy.units import UnitsError  # a second of every start

    try:
        return _degrees(ra, "hourangle", 23), _degrees(dec, "deg", 90)
    except (UnitsError, ValueError) as error:
        raise BadPosition(f"{asked!r}: {error}") from error


def _degrees(text: str, unit: str, most: int) -> float:
    from astropy.coordinates import Angle

    numbers = re.findall(r"\d+(?:\.\d*)?", text)
    if float(numbers[0]) > most or any(float(n) >= 60 for n in numbers[1:]):
        raise ValueError(f"{text.strip()}: no such angle")
    sign = "-" if text.lstrip()[0] in "-\u2212" else "+"
    return float(Angle(sign + ":".join(numbers), unit).deg)
