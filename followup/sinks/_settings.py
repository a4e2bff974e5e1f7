"""Reading a sink's settings: every mistake names the key, and secrets stay secret."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mmcoord.errors import ConfigError

__all__ = ["Secret", "Settings", "web_address"]

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class Secret:
    """A value that prints as asterisks; :meth:`reveal` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for a request header or address."""
        return self._value

    def hide_in(self, text: str) -> str:
        """``text`` without the value, should a service have echoed it."""
        return text.replace(self._value, "***") if self._value else text

    def __repr__(self) -> str:
        return "Secret(***)"


class Settings:
    """One sink's table of the configuration, read key by key; then :meth:`finish`.

    Every reader raises :class:`~mmcoord.errors.ConfigError` that names the sink and key.
    """

    def __init__(
        self, name: str, table: Mapping[str, Any], environ: Mapping[str, str] | None = None
    ) -> None:
        self._name = name
        self._table = table
        self._environ = os.environ if environ is None else environ
        self._read = {"kind"}  # says which sink this table is for; read by whoever called us

    def error(self, key: str, message: str) -> ConfigError:
        """A ConfigError about ``key`` of this sink."""
        return ConfigError(f"sinks.{self._name}.{key}: {message}")

    def has(self, key: str) -> bool:
        """Whether the table has ``key`` (it then counts as known)."""
        self._read.add(key)
        return key in self._table

    def text(self, key: str, default: str | None = None) -> str:
        """A non-empty string."""
        value = self._get(key, default)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "must be a non-empty string")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def number(self, key: str, default: float, *, low: float, high: float) -> float:
        """A number in [low, high]."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, "must be a number")
        if not low <= value <= high:
            raise self.error(key, f"must be in [{low:g}, {high:g}]")
        return float(value)

    def texts(self, key: str, default: Iterable[str] = ()) -> tuple[str, ...]:
        """A list of non-empty strings."""
        value = self._get(key, list(default))
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) and v for v in value):
            raise self.error(key, "must be a list of non-empty strings")
        return tuple(value)

    def secret(self, key: str) -> Secret | None:
        """The secret under ``key``, in the variable ``key_env`` or in the file ``key_file``."""
        spellings = [k for k in (key, f"{key}_env", f"{key}_file") if self.has(k)]
        if not spellings:
            return None
        if len(spellings) > 1:
            raise self.error(key, f"given more than once ({', '.join(spellings)})")
        spelling = spellings[0]
        named = self.text(spelling)
        if spelling == key:
            value = named
        elif spelling == f"{key}_env":
            if named not in self._environ:
                raise self.error(spelling, f"environment variable {named} is not set")
            value = self._environ[named]
        else:
            value = self._read_file(spelling, named)
        if not value.strip():
            raise self.error(spelling, "the secret is empty")
        return Secret(value.strip())

    def needed_secret(self, key: str) -> Secret:
        """As :meth:`secret`, where there must be one."""
        found = self.secret(key)
        if found is None:
            raise self.error(key, f"is missing ({key}, {key}_env or {key}_file)")
        return found

    def finish(self) -> None:
        """Refuse keys that nobody has read: a misspelt key must not pass as a default."""
        unknown = sorted(set(self._table) - self._read)
        if unknown:
            raise self.error(unknown[0], f"unknown key (known: {', '.join(sorted(self._read))})")

    def _get(self, key: str, default: Any) -> Any:
        if self.has(key):
            return self._table[key]
        if default is None:
            raise self.error(key, "is missing")
        return default

    def _read_file(self, key: str, path: str) -> str:
        try:
            return Path(path).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise self.error(key, f"cannot read {path}: {type(error).__name__}") from None


def web_address(settings: Settings, key: str, url: str) -> str:
    """``url`` without its last slash, if a secret may be sent there.

    That is https, or plain http to this very machine; ``allow_http = true`` in the
    settings permits plain http elsewhere.

    Raises
    ------
    ConfigError
        Naming ``key``, never the address: an address can itself be a secret.
    """
    allow_http = settings.flag("allow_http", False)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise settings.error(key, "must be an http(s) address")
    if parts.username or parts.password:
        raise settings.error(key, "must not carry a user name or password")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not allow_http:
        raise settings.error(key, "plain http would show the secret; use https or allow_http")
    return url.rstrip("/")
