"""Getting what a link in a notice leads to. A link is hostile until its host is on the list.

Anybody who can publish a notice chooses its links, and we stand inside an observatory's
network. So: only hosts that are listed; only https on its own port; the name is resolved
once, every address it has must be public, and the connection goes to the very address that
was looked at (a name that changes its address in between, "DNS rebinding", gains nothing).
Every redirect passes the same door. Time and size are limited while the bytes come in.

httpcore, the engine under httpx, is used itself: its network backend is the documented place
where a name becomes a connection, and it adds nothing of its own to a request, neither
cookies nor credentials nor proxies of the environment.

OWASP, "Server-Side Request Forgery Prevention Cheat Sheet"; RFC 6890 (special addresses);
RFC 6052 (IPv4 inside 64:ff9b::/96).
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import IO, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpcore

from mmcoord.errors import NotThereYet, Refused, Retryable

__all__ = ["HOSTS", "Network", "Policy", "fetch", "is_host", "is_public", "permitted"]

HOSTS = (
    "gcn.nasa.gov",
    "gracedb.ligo.org",
    "guano.swift.psu.edu",
    "heasarc.gsfc.nasa.gov",
    "opendata.km3net.de",
    "roc-2.icecube.wisc.edu",
    "roc.icecube.wisc.edu",
)
"""Where the missions that we listen to keep their maps."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_MAX_URL = 2000
_MAX_REDIRECTS = 3
_STEP_TIMEOUT_S = 15.0
"""For one connection, one handshake, one read."""
_MAX_GZIP_MEMBERS = 10_000
_GZIP = b"\x1f\x8b"
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (401, 403, 408, 409, 425, 429)
"""Not public yet, or too many questions: may be otherwise later."""
_HOST = re.compile(
    r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]"
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be asked, and how much may come back."""

    hosts: frozenset[str] = frozenset(HOSTS)
    timeout_s: float = 60.0
    """For everything together: name, connection, redirects, all of the body."""
    max_bytes: int = 32 * 2**20
    """As sent."""
    max_expanded_bytes: int = 400_000_000
    """After undoing gzip."""


def is_host(name: str) -> bool:
    """Whether ``name`` is a full host name as the list wants it: lower case, no address."""
    return _HOST.fullmatch(name) is not None


def permitted(url: str, hosts: Iterable[str]) -> str:
    """The address that may be asked for ``url``: https, a listed host, its usual port.

    Raises
    ------
    Refused
        With the rule that forbids it.
    """
    shown = repr(url[:200])
    if len(url) > _MAX_URL:
        raise Refused(f"link {shown}: longer than {_MAX_URL} characters")
    # Before anything is parsed: urlsplit drops some of these in silence.
    if not url.isascii() or any(sign <= " " or sign in "\\\x7f" for sign in url):
        raise Refused(f"link {shown}: holds signs that no web address has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused(f"link {shown}: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise Refused(f"link {shown}: neither http nor https")
    if "@" in parts.netloc:
        raise Refused(f"link {shown}: names a user")
    host = parts.hostname or ""
    if not is_host(host):
        raise Refused(f"link {shown}: a host name is needed, not an address")
    if port not in (None, 80 if parts.scheme == "http" else 443):
        raise Refused(f"link {shown}: port {port}")
    if host not in hosts:
        raise Refused(f"link {shown}: {host} is not on the list of hosts")
    return urlunsplit(("https", host, parts.path or "/", parts.query, ""))


def is_public(address: IpAddress) -> bool:
    """Whether an address is on the public internet, whatever notation hides it."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.ipv4_mapped or address.sixtofour or address.teredo:
            return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_private
    )


def _resolve(host: str, port: int) -> Sequence[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _connect(address: str, port: int, timeout_s: float) -> httpcore.NetworkStream:
    return httpcore.SyncBackend().connect_tcp(address, port, timeout_s)


@dataclass(frozen=True, slots=True)
class Network:
    """How a name becomes a connection. Only tests have another one than this."""

    resolve: Callable[[str, int], Sequence[str]] = _resolve
    connect: Callable[[str, int, float], httpcore.NetworkStream] = _connect
    is_public: Callable[[IpAddress], bool] = is_public
    tls: ssl.SSLContext | None = None


_INTERNET = Network()


def fetch(
    url: str,
    policy: Policy,
    network: Network = _INTERNET,
    *,
    stopped: Callable[[], bool] = lambda: False,
    into: IO[bytes] | None = None,
) -> bytes:
    """The file behind a link, as it was sent.

    Parameters
    ----------
    into
        Where a large file is written as it comes; then nothing is returned. After an error it
        holds what came so far.
    stopped
        Asked between reads; true ends the transfer.

    Raises
    ------
    Refused
        The link, a redirect or what came back breaks the policy; never to be tried again.
    NotThereYet
        404 or 410: the file may appear.
    Retryable
        Anything else that may be otherwise later: names, connections, time, 5xx.
    """
    backend = _Pinned(network, _Clock(time.monotonic() + policy.timeout_s, stopped))
    with httpcore.ConnectionPool(
        ssl_context=network.tls, network_backend=backend, max_connections=1
    ) as pool:
        for _ in range(_MAX_REDIRECTS + 1):
            url = permitted(url, policy.hosts)
            found = _get(pool, url, policy, into)
            if isinstance(found, bytes):
                return found
            url = urljoin(url, found)
    raise Refused(f"link {url[:200]!r}: more than {_MAX_REDIRECTS} redirects")


def _get(
    pool: httpcore.ConnectionPool, url: str, policy: Policy, into: IO[bytes] | None
) -> bytes | str:
    """The body, or where the server sends us instead."""
    headers = [
        ("Host", urlsplit(url).netloc),
        ("User-Agent", f"mmcoord/{version('mmcoord')}"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), _STEP_TIMEOUT_S)
    try:
        with pool.stream("GET", url, headers=headers, extensions={"timeout": timeout}) as answer:
            if answer.status in _REDIRECTS:
                return _header(answer, b"location") or _no(url, answer.status)
            if answer.status != 200:
                return _no(url, answer.status)
            return _body(url, answer, policy, into)
    except httpcore.TimeoutException as error:
        raise Retryable(f"{url}: took too long ({error or type(error).__name__})") from error
    except httpcore.LocalProtocolError as error:
        raise Refused(f"{url}: cannot be asked: {error}") from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise Retryable(f"{url}: {type(error).__name__}: {error}"[:500]) from error


def _no(url: str, status: int) -> str:
    """Raise what a status without a file means."""
    if status in (404, 410):
        raise NotThereYet(f"{url}: not there yet (HTTP {status})")
    if status in _PASSING or status >= 500 or status < 400:
        raise Retryable(f"{url}: HTTP {status}")
    raise Refused(f"{url}: HTTP {status}")


def _header(answer: httpcore.Response, name: bytes) -> str:
    values = [value for key, value in answer.headers if key.lower() == name]
    return values[0].decode("latin-1").strip() if values else ""


def _body(url: str, answer: httpcore.Response, policy: Policy, into: IO[bytes] | None) -> bytes:
    """The whole body within the limits."""
    encoding = _header(answer, b"content-encoding").lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise Refused(f"{url}: content encoding {encoding[:40]!r} was not asked for")
    too_large = f"{url}: more than {policy.max_bytes} bytes"
    declared = _header(answer, b"content-length")
    if declared.isdecimal() and int(declared[:20]) > policy.max_bytes:
        raise Refused(too_large)
    chunks: list[bytes] = []
    keep = chunks.append if into is None else into.write
    size = 0
    gauge = _Gauge(policy.max_expanded_bytes)
    try:
        for chunk in answer.iter_stream():
            size += len(chunk)
            if size > policy.max_bytes:
                raise Refused(too_large)
            gauge.take(chunk)
            keep(chunk)
    except zlib.error as error:
        raise Retryable(f"{url}: broken gzip: {error}") from error
    except _Swells as error:
        raise Refused(f"{url}: {error}") from error
    if size == 0 or not gauge.is_whole:
        raise Retryable(f"{url}: " + ("empty" if size == 0 else "gzip cut short"))
    return b"".join(chunks)


class _Swells(Exception):
    """Inflates beyond the limit."""


@dataclass(slots=True)
class _Gauge:
    """Measures what a gzip stream inflates to, and keeps none of it."""

    limit: int
    size: int = 0
    members: int = 0
    _head: bytes = b""
    _inflate: Any = None
    _is_plain: bool = False

    @property
    def is_whole(self) -> bool:
        """Not gzip, or gzip up to its end."""
        return self._inflate is None

    def take(self, data: bytes) -> None:
        """One more piece of the stream."""
        if self._is_plain:
            return
        if self._inflate is None:
            data, self._head = self._head + data, b""
            if len(data) < len(_GZIP) and _GZIP.startswith(data):
                self._head = data
                return
        while data:
            if self._inflate is None:
                if not data.startswith(_GZIP):
                    self._is_plain = True  # plain from the start, or padding after the end
                    return
                self._begin()
            self.size += len(self._inflate.decompress(data, 2**20))
            if self.size > self.limit:
                raise _Swells(f"gzip inflates to more than {self.limit} bytes")
            data = self._inflate.unconsumed_tail
            if self._inflate.eof:
                data, self._inflate = self._inflate.unused_data, None

    def _begin(self) -> None:
        self.members += 1
        if self.members > _MAX_GZIP_MEMBERS:
            raise _Swells(f"gzip of more than {_MAX_GZIP_MEMBERS} members")
        self._inflate = zlib.decompressobj(wbits=31)


# -- the one place where a name becomes a connection -----------------------------------------


@dataclass(frozen=True, slots=True)
class _Clock:
    """Time left of the whole; httpx and httpcore only know limits of single steps."""

    end: float
    stopped: Callable[[], bool]

    def left_s(self, step_s: float | None) -> float:
        left = self.end - time.monotonic()
        if self.stopped():
            raise httpcore.ReadTimeout("stopped")
        if left <= 0:
            raise httpcore.ReadTimeout("the time for the whole is over")
        return min(left, _STEP_TIMEOUT_S if step_s is None else step_s)


@dataclass(slots=True)
class _Pinned(httpcore.NetworkBackend):
    """Resolves once, looks at every address, and connects to one that was looked at."""

    network: Network
    clock: _Clock

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._addresses(host, port)
        for position, address in enumerate(addresses):
            try:
                stream = self.network.connect(address, port, self.clock.left_s(timeout))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if position == len(addresses) - 1:
                    raise
            else:
                return _Timed(stream, self.clock)
        raise httpcore.ConnectError(f"{host} has no address")

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = list(dict.fromkeys(self.network.resolve(host, port)))
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        for address in found:
            # One that is not public spoils them all: no honest name mixes the two.
            if not self.network.is_public(ipaddress.ip_address(address)):
                raise Refused(f"{host} resolves to {address}, which is not on the public internet")
        return found


@dataclass(slots=True)
class _Timed(httpcore.NetworkStream):
    """A connection whose every step ends with the time of the whole."""

    stream: httpcore.NetworkStream
    clock: _Clock = field(repr=False)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, self.clock.left_s(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, self.clock.left_s(timeout))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        inner = self.stream.start_tls(ssl_context, server_hostname, self.clock.left_s(timeout))
        return _Timed(inner, self.clock)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)
