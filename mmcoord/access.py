"""API tokens: what one looks like, and whether one is good. Pure; the rows are the store's.

A token is ``mmc_IDENTIFIER_SECRETCHECKSUM``: a prefix that secret scanners recognise, eight
characters that find the row, 256 random bits, and a CRC-32 that lets a mistyped token be
refused without a look into the store. Only the SHA-256 of the secret is kept: a secret of 256
bits cannot be guessed, so that a slow hash would protect nothing and let strangers keep the
processor busy.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

__all__ = ["Minted", "Scope", "good", "mint", "parse", "scopes", "secret_sha256"]

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 8
_SECRET_LENGTH = 43
"""62^43 > 2^256."""
_CHECK_LENGTH = 6
_TOKEN = re.compile(
    rf"mmc_([0-9A-Za-z]{{{_ID_LENGTH}}})_([0-9A-Za-z]{{{_SECRET_LENGTH}}})"
    rf"([0-9A-Za-z]{{{_CHECK_LENGTH}}})"
)


class Scope(StrEnum):
    """What a token may do. Reading what is public needs no token."""

    READ = "read"
    """See what is its group's own."""
    RUN = "run"
    """Ask for inferences on the group's quota."""
    MODELS = "models"
    """Upload light-curve models, and retire one's own."""
    CLAIM = "claim"
    """Say what the group observes."""
    APPROVE = "approve"
    """Let out what waits for a person, or reject it."""
    WORKER = "worker"
    """Take runs, the public ones and its group's own, and bring their results."""


@dataclass(frozen=True, slots=True)
class Minted:
    """A new token; ``text`` is shown once and kept nowhere."""

    id: str
    secret_sha256: str
    text: str = field(repr=False)


def mint() -> Minted:
    """Make a token from the system's source of randomness."""
    identifier = _random(_ID_LENGTH)
    secret = _random(_SECRET_LENGTH)
    body = f"mmc_{identifier}_{secret}"
    return Minted(identifier, secret_sha256(secret), body + _checksum(body))


def parse(text: str) -> tuple[str, str] | None:
    """(identifier, secret) of a well-formed token; None for anything else."""
    found = _TOKEN.fullmatch(text)
    if found is None:
        return None
    identifier, secret, check = found.groups()
    if check != _checksum(f"mmc_{identifier}_{secret}"):
        return None
    return identifier, secret


def secret_sha256(secret: str) -> str:
    """What the store keeps of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def good(
    secret: str,
    kept_sha256: str,
    *,
    expires_at: datetime,
    revoked_at: datetime | None,
    now: datetime,
) -> bool:
    """Whether a secret is the one kept, and the token still stands; in constant time."""
    same = hmac.compare_digest(secret_sha256(secret), kept_sha256)
    return same and revoked_at is None and now < expires_at


def scopes(names: Sequence[str]) -> tuple[Scope, ...]:
    """Scopes by name, sorted, each once.

    Raises
    ------
    ValueError
        An unknown name, or none at all.
    """
    found = sorted({Scope(name) for name in names})
    if not found:
        raise ValueError("a token needs a scope")
    return tuple(found)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECK_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
