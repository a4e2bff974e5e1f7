"""The template engine: escaping everywhere, undefined names are errors."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mmcoord.web import text
from mmcoord.web.assets import ASSETS

__all__ = ["TEMPLATES"]

_PAYLOAD_LIMIT = 8000


def _path(value: str) -> str:
    """A name as part of a URL's path. Routes take names with slashes."""
    return quote(value, safe="/:")


def _query(value: str) -> str:
    return quote(value, safe="")


def _document(value: Any) -> str:
    """A JSON document for people, cut where it is long."""
    shown = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False)
    if len(shown) <= _PAYLOAD_LIMIT:
        return shown
    return f"{shown[:_PAYLOAD_LIMIT]}\n… ({len(shown):,} characters in all)"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=text.visible,
        auto_reload=False,  # an upgrade under a running service must not mix versions
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ago": text.ago,
        "amount": text.amount,
        "dec": text.dec_sexagesimal,
        "document": _document,
        "duration": text.duration,
        "factor": text.factor,
        "far": text.far,
        "iso": text.iso,
        "mjd": text.mjd,
        "moment": datetime.fromisoformat,
        "path": _path,
        "percent": text.percent,
        "probability": text.probability,
        "query": _query,
        "score": text.score,
        "ra": text.ra_sexagesimal,
        "top_class": text.top_class,
        "utc": text.utc,
    }
    environment.globals |= {"assets": ASSETS, "distance": text.distance}
    return environment


TEMPLATES = _environment()
