"""The REST interface of an unmodified TOM Toolkit (3.x), with its traps closed.

What was seen on a real TOM 3.1 (each has a test in ``tests/sinks/test_tom_traps.py``):

* a request without a valid user is *answered*: an empty list, or even a target created.
  So nothing is sent before ``GET /api/groups/`` has shown a group of ours, which only an
  authenticated member sees;
* ``name`` and alias searches are substring searches: the exact match is made here;
* the cone search drops targets at the cone's very centre (an arc cosine just above 1),
  does not wrap at 0/360 deg, and narrows by right ascension without cos(dec). So a wider,
  shifted cone is asked for, on both sides of 0 h, and the separation is checked here;
* ``PATCH`` of an extra without its ``id`` is a 500, and groups are patched by ``id`` only;
* a target cannot leave a target list: ``/api/targetlist/`` is a 500, ``PATCH`` only adds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from followup.sinks._http import (
    MENDED_BY_A_PERSON_S,
    Failed,
    Files,
    Reply,
    Rule,
    Trouble,
    call,
    judge,
    require,
)
from followup.sinks._settings import Secret, Settings
from followup.sinks.base import Answer, Outcome

__all__ = ["READS", "WRITES", "Failed", "Login", "Tom", "login_of", "separation_arcsec"]

Json = dict[str, Any]

_PAGE = 1000
_MAX_PAGES = 20
_RECHECK_IDENTITY_S = 600.0

_COMMON: tuple[Rule, ...] = (
    Rule("not reached", lambda r: r.trouble is Trouble.NOT_REACHED, Outcome.RETRY),
    Rule("token refused", lambda r: r.status == 401, Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("forbidden", lambda r: r.status == 403, Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("redirected", lambda r: 300 <= r.status < 400, Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("too many requests", lambda r: r.status == 429, Outcome.RETRY),
    Rule("unavailable", lambda r: r.status in (408, 425, 503), Outcome.RETRY),
)

READS: tuple[Rule, ...] = (
    Rule("read", lambda r: r.status == 200 and isinstance(r.body, dict), Outcome.SENT),
    *_COMMON,
    Rule("not found", lambda r: r.status == 404, Outcome.RETRY, MENDED_BY_A_PERSON_S),
    # A read changes nothing, so whatever went wrong it may be repeated.
    Rule("unreadable", lambda r: True, Outcome.RETRY),
)

WRITES: tuple[Rule, ...] = (
    Rule(
        "written",
        lambda r: r.status in (200, 201) and isinstance(r.body, dict),
        Outcome.SENT,
    ),
    *_COMMON,
    Rule("no right to change", lambda r: r.status == 404, Outcome.RETRY, MENDED_BY_A_PERSON_S),
    Rule("not accepted", lambda r: r.status in (400, 405, 409, 413, 415, 422), Outcome.REJECTED),
    # 500 is seen after the target itself was stored (extras or lists come later).
    Rule("failed inside", lambda r: r.status >= 500, Outcome.UNKNOWN),
    Rule("no answer", lambda r: r.trouble is Trouble.NO_ANSWER, Outcome.UNKNOWN),
    Rule("not a TOM's answer", lambda r: 200 <= r.status < 300, Outcome.UNKNOWN),
)


@dataclass(frozen=True, slots=True)
class Login:
    """How to be somebody: a token, or a user name and password that buy one."""

    token: Secret | None = None
    username: str = ""
    password: Secret | None = None

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What must not be seen."""
        return tuple(s for s in (self.token, self.password) if s)


def login_of(settings: Settings) -> Login:
    """From ``token``, or ``username`` and ``password``.

    Raises
    ------
    ConfigError
        Neither, or both.
    """
    token = settings.secret("token")
    password = settings.secret("password")
    username = settings.text("username") if settings.has("username") else ""
    if token is not None:
        if password is not None or username:
            raise settings.error("token", "give a token or a username and password, not both")
        return Login(token=token)
    if password is None or not username:
        raise settings.error("token", "is missing (or give username and password)")
    return Login(username=username, password=password)


@dataclass(slots=True)
class Tom:
    """One TOM as one of its users. Every method raises :class:`Failed`."""

    url: str
    login: Login
    client: httpx.Client = field(repr=False)
    member_of: str
    """Group whose membership proves that the TOM knows who asks."""
    timeout_s: float = 20.0
    _token: Secret | None = None
    _groups: dict[str, int] = field(default_factory=dict)
    _checked_at: float = -math.inf

    def groups(self) -> Mapping[str, int]:
        """Our own groups, name to id, after making sure that we are somebody there."""
        if time.monotonic() - self._checked_at < _RECHECK_IDENTITY_S:
            return self._groups
        body = self._read("/api/groups/", {"limit": _PAGE})
        groups = {str(g["name"]): int(g["id"]) for g in body.get("results", [])}
        if self.member_of not in groups:
            raise Failed(
                Answer(
                    Outcome.RETRY,
                    detail=(
                        f"the TOM shows no group {self.member_of!r} for this user: either the "
                        "user is not a member, or the TOM does not honour the token (it then "
                        "answers as to an anonymous visitor); nothing was sent"
                    ),
                    retry_after_s=MENDED_BY_A_PERSON_S,
                )
            )
        self._groups, self._checked_at = groups, time.monotonic()
        return groups

    def target(self, target_id: int) -> Json | None:
        """The target with this id; None when it is not there or not visible to us."""
        try:
            return self._read(f"/api/targets/{target_id}/")
        except Failed as failed:
            if failed.status == 404:
                return None
            raise

    def named(self, name: str) -> Json | None:
        """The target whose name, else one of whose aliases, is exactly ``name``."""
        by_alias: Json | None = None
        for target in self._targets({"name": name}):
            if target["name"] == name:
                return target
            if any(alias["name"] == name for alias in target.get("aliases", [])):
                by_alias = by_alias or target
        return by_alias

    def within(self, ra_deg: float, dec_deg: float, radius_arcsec: float) -> list[Json]:
        """Sidereal targets within the radius, the nearest first."""
        found: dict[int, tuple[float, Json]] = {}
        for cone in _cones(ra_deg, dec_deg, radius_arcsec / 3600.0):
            for target in self._targets({"cone_search": cone}):
                if target.get("type") != "SIDEREAL" or target.get("ra") is None:
                    continue
                distance = separation_arcsec(ra_deg, dec_deg, target["ra"], target["dec"])
                if distance <= radius_arcsec:
                    found[target["id"]] = (distance, target)
        return [target for _, target in sorted(found.values(), key=lambda f: (f[0], f[1]["id"]))]

    def create(self, body: Json) -> Json:
        """POST a target."""
        return self._write("POST", "/api/targets/", body)

    def change(self, target: Json, change: Json) -> Json:
        """PATCH a target; ``change`` may name extras without their ids."""
        return self._write("PATCH", f"/api/targets/{target['id']}/", with_ids(change, target))

    def photometry(self, target_id: int, source: str) -> list[Json]:
        """The photometry that ``source`` has given for a target."""
        params: dict[str, str | int] = {
            "target__id": target_id,
            "data_type": "photometry",
            "source_name": source,
        }
        return list(self.pages("/api/reduceddatums/", params))

    def add_datum(self, body: Json) -> Json:
        """POST one reduced datum; the TOM answers 200 ``already_exists`` to a repeat."""
        return self._write("POST", "/api/reduceddatums/", body)

    def observations(self) -> Iterator[Json]:
        """All observation records that we may see."""
        return self.pages("/api/observations/", {})

    def get(self, path: str) -> Json:
        """One object of an app's."""
        return self._read(path)

    def put(self, path: str, body: Json) -> Json:
        """Make or replace an object of an app's."""
        return self._write("PUT", path, body)

    def post(self, path: str, body: Json) -> Json:
        """Make an object of an app's."""
        return self._write("POST", path, body)

    def patch(self, path: str, body: Json) -> Json:
        """Change an object of an app's."""
        return self._write("PATCH", path, body)

    def has(self, path: str) -> bool:
        """Whether the TOM has a list at this place, that is, the app that it belongs to."""
        reply = self._call("GET", path, params={"limit": 1})
        if reply.status == 404:
            return False
        require(reply, READS)
        return True

    def add_product(self, target_id: int, kind: str, product_id: str, png: bytes) -> None:
        """Upload a picture; the TOM answers 200 ``already_exists`` to a repeat."""
        reply = self._call(
            "POST",
            "/api/dataproducts/",
            data={
                "target": str(target_id),
                "data_product_type": kind,
                "product_id": product_id,
            },
            files={"file": (f"{product_id}.png", png, "image/png")},
        )
        require(reply, WRITES)

    def _targets(self, params: Mapping[str, str | int]) -> Iterator[Json]:
        return self.pages("/api/targets/", params)

    def pages(self, path: str, params: Mapping[str, str | int]) -> Iterator[Json]:
        """All results. ``next`` is not followed: it is an address that the TOM chooses."""
        for page in range(_MAX_PAGES):
            body = self._read(path, {**params, "limit": _PAGE, "offset": page * _PAGE})
            results = body.get("results", [])
            yield from results
            if not body.get("next") or not results:
                return
        raise Failed(Answer(Outcome.RETRY, detail=f"more than {_PAGE * _MAX_PAGES} results"))

    def _read(self, path: str, params: Mapping[str, str | int] | None = None) -> Json:
        reply = self._call("GET", path, params=params)
        found: Json = require(reply, READS)
        return found

    def _write(self, method: str, path: str, body: Json) -> Json:
        reply = self._call(method, path, json_body=body)
        found: Json = require(reply, WRITES)
        return found

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json_body: Any = None,
        data: Mapping[str, str] | None = None,
        files: Files | None = None,
    ) -> Reply:
        token = self._token or self._obtain_token()
        reply = call(
            self.client,
            method,
            f"{self.url}{path}",
            timeout_s=self.timeout_s,
            secrets=(*self.login.secrets, token),
            headers={"Authorization": f"Token {token.reveal()}"},
            params=params,
            json_body=json_body,
            data=data,
            files=files,
        )
        if reply.status == 401:  # expired or regenerated: ask again who we are next time
            self._token, self._checked_at = None, -math.inf
        return reply

    def _obtain_token(self) -> Secret:
        if self.login.token:
            self._token = self.login.token
            return self.login.token
        assert self.login.password is not None
        reply = call(
            self.client,
            "POST",
            f"{self.url}/api/token-auth/",
            timeout_s=self.timeout_s,
            secrets=self.login.secrets,
            json_body={
                "username": self.login.username,
                "password": self.login.password.reveal(),
            },
        )
        token = reply.body.get("token") if isinstance(reply.body, dict) else None
        if reply.status == 200 and isinstance(token, str) and token:
            self._token = Secret(token)
            return self._token
        wait = MENDED_BY_A_PERSON_S if 400 <= reply.status < 500 else None
        named = judge(reply, READS).detail
        raise Failed(Answer(Outcome.RETRY, detail=f"no token: {named}", retry_after_s=wait))


def with_ids(change: Json, target: Json) -> Json:
    """``change`` with the ids of the extras that the target has already."""
    if "targetextra_set" not in change:
        return change
    ids = {extra["key"]: extra["id"] for extra in target.get("targetextra_set", [])}
    extras = [
        {**extra, "id": ids[extra["key"]]} if extra["key"] in ids else extra
        for extra in change["targetextra_set"]
    ]
    return {**change, "targetextra_set": extras}


def separation_arcsec(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Great-circle separation of two positions in degrees, by the haversine."""
    d_dec = math.radians(dec2 - dec1) / 2.0
    d_ra = math.radians(ra2 - ra1) / 2.0
    cosines = math.cos(math.radians(dec1)) * math.cos(math.radians(dec2))
    h = math.sin(d_dec) ** 2 + cosines * math.sin(d_ra) ** 2
    return math.degrees(2.0 * math.asin(min(1.0, math.sqrt(h)))) * 3600.0


def _cones(ra_deg: float, dec_deg: float, radius_deg: float) -> list[str]:
    """``cone_search`` values that together find every target within the radius.

    The centre is moved by 1.5 radii, so that no target sought lies where the TOM's arc
    cosine fails; 2.6 radii then cover the sought circle. The TOM first cuts at twice the
    cone's radius in right ascension, without cos(dec): near a pole the cone is widened.
    """
    dec = dec_deg - math.copysign(1.5 * radius_deg, dec_deg)
    half_width_ra = 180.0
    room = math.sin(math.radians(radius_deg)) / max(math.cos(math.radians(dec_deg)), 1e-12)
    if room < 1.0:
        half_width_ra = math.degrees(math.asin(room))
    radius = max(2.6 * radius_deg, 0.55 * half_width_ra)
    centres = [ra_deg]
    if ra_deg - half_width_ra < 0.0:
        centres.append(ra_deg + 360.0)
    if ra_deg + half_width_ra >= 360.0:
        centres.append(ra_deg - 360.0)
    return [f"{ra:.9f},{dec:.9f},{radius:.9f}" for ra in centres]
