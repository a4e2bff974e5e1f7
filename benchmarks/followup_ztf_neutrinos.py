"""Our skip rule against what ZTF did: 34 IceCube alerts followed, 98 skipped with reasons.

``python -m benchmarks.followup_ztf_neutrinos`` prints JSON. The lists are those of the nuztf
project; positions and errors are its own columns, the time of an alert is the day in its name.
An alert of the list that misses a value has that value unknown.
"""

from __future__ import annotations

import ast
import csv
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.skymaps_common import report
from followup.claims import SkipReason
from followup.sites import load_catalogue
from followup.skip import Alert, Skip, why_skip
from tests.shared import shared

CODES = {
    "0": None,  # before ZTF began: nothing to judge
    "1": SkipReason.RETRACTED,
    "2": SkipReason.SUN,
    "3": SkipReason.MAINTENANCE,
    "4": SkipReason.POOR,
    "5": SkipReason.OUT_OF_REACH,
    "6": SkipReason.LOW,
    "7": SkipReason.WEATHER,
    "8": SkipReason.GALACTIC_PLANE,
}
NOT_IN_AN_ALERT = (SkipReason.MAINTENANCE, SkipReason.WEATHER)
"""Reasons that lie with the telescope's night: no rule can read them from an alert."""


def number(text: str | None) -> float | None:
    return float(text) if text and text.strip() else None


def half_widths(text: str | None) -> tuple[float, float] | None:
    if not text or not text.strip():
        return None
    high, low = ast.literal_eval(text)
    return abs(float(high)), abs(float(low))


def alert_of(row: dict[str, str]) -> Alert:
    year, month, day = re.match(r"IC(\d\d)(\d\d)(\d\d)", row["Event"]).groups()  # type: ignore[union-attr]
    return Alert(
        time=datetime(2000 + int(year), int(month), int(day), 12, tzinfo=UTC),
        ra_deg=number(row["RA"]),
        dec_deg=number(row["Dec"]),
        ra_widths_deg=half_widths(row["RA Unc (rectangle)"]),
        dec_widths_deg=half_widths(row["Dec Unc (rectangle)"]),
        signalness=number(row["Signalness"]),
        is_retracted=row.get("Code") == "1",
    )


def read(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / name, newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    folder = Path(shared("nu/catalogs"))
    (ztf,) = load_catalogue().select(["ztf"])
    followed = read(folder, "nuztf_neutrino_followup.csv")
    skipped = [
        row
        for row in read(folder, "nuztf_neutrino_not_followed.csv")
        if CODES[row["Code"]] is not None
    ]
    kept: dict[str, str] = {}
    for row in followed:
        skip = why_skip(alert_of(row), ztf)
        if skip is not None:
            kept[row["Event"]] = str(skip)
    by_reason: dict[str, Counter[str]] = {}
    disagreed = []
    for row in skipped:
        wanted = CODES[row["Code"]]
        assert wanted is not None
        ours: Skip | None = why_skip(alert_of(row), ztf)
        said = ours.reason.value if ours else "followed"
        by_reason.setdefault(wanted.value, Counter())[said] += 1
        if wanted not in NOT_IN_AN_ALERT and ours is None:
            disagreed.append(f"{row['Event']} ({wanted.value})")
    readable = [row for row in skipped if CODES[row["Code"]] not in NOT_IN_AN_ALERT]
    right = len(followed) - len(kept)
    skipped_too = len(readable) - len(disagreed)
    same = sum(counts[reason] for reason, counts in by_reason.items())
    result: dict[str, Any] = {
        "followed_by_ztf": len(followed),
        "of_them_we_follow": right,
        "skipped_for_a_reason_in_the_alert": len(readable),
        "of_them_we_skip": skipped_too,
        "agreement": round((right + skipped_too) / (len(followed) + len(readable)), 3),
        "skipped_by_both_with_the_same_code": same,
        "our_answer_by_their_reason": {k: dict(v) for k, v in sorted(by_reason.items())},
        "followed_by_ztf_and_skipped_by_us": kept,
        "skipped_by_ztf_and_followed_by_us": disagreed,
    }
    report(result)


if __name__ == "__main__":
    main()
