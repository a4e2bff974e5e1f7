"""Links: what may be asked, what comes back, and what does not get through."""

from __future__ import annotations

import gzip
import ipaddress
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcoord.errors import NotThereYet, Refused, Retryable
from mmcoord.fetching import HOSTS, Network, Policy, fetch, is_host, is_public, permitted
from tests.linkserver import HOST, OTHER, POLICY, Handler, LinkServer, running

URL = f"https://{HOST}/map.fits"
FITS = b"SIMPLE  =                    T" + b" " * 2850


@pytest.fixture(scope="module")
def shared_server() -> Iterator[LinkServer]:
    with running() as found:
        yield found


@pytest.fixture
def server(shared_server: LinkServer) -> LinkServer:
    """The module's server without memory of the test before."""
    for kept in (shared_server.answers, shared_server.seen, shared_server.dialled):
        kept.clear()
    return shared_server


# -- which links ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://gracedb.ligo.org/api/x?y=1", "https://gracedb.ligo.org/api/x?y=1"),
        ("http://heasarc.gsfc.nasa.gov/FTP/a.fit", "https://heasarc.gsfc.nasa.gov/FTP/a.fit"),
        ("http://heasarc.gsfc.nasa.gov:80/a", "https://heasarc.gsfc.nasa.gov/a"),
        ("https://GRACEDB.ligo.org:443", "https://gracedb.ligo.org/"),
        ("https://roc.icecube.wisc.edu/a#part", "https://roc.icecube.wisc.edu/a"),
    ],
)
def test_a_listed_host_is_asked_over_https(url: str, asked: str) -> None:
    assert permitted(url, HOSTS) == asked


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("https://evil.example/gracedb.ligo.org", "not on the list"),
        ("https://gracedb.ligo.org.evil.example/", "not on the list"),
        ("https://xgracedb.ligo.org/", "not on the list"),
        ("https://gracedb.ligo.org./", "host name"),
        ("https://gracedb.ligo.org@evil.example/", "names a user"),
        ("https://evil.example@gracedb.ligo.org/", "names a user"),
        ("https://u:p@gracedb.ligo.org/", "names a user"),
        ("https://evil.example\\@gracedb.ligo.org/", "signs"),
        ("https://gracedb.ligo.org\\.evil.example/", "signs"),
        ("https://gracedb%2eligo.org/", "host name"),
        ("https://gracedb.ligo.org%00.evil.example/", "host name"),
        ("https://gracedb.ligo.org:8443/", "port"),
        ("https://gracedb.ligo.org:80/", "port"),
        ("http://gracedb.ligo.org:443/", "port"),
        ("https://gracedb.ligo.org:99999/", "Port"),
        ("https://gracedb.ligo.org:0/", "port"),
        ("https://gr\u0430cedb.ligo.org/", "signs"),  # a Cyrillic letter
        ("https://gracedb\u3002ligo\u3002org/", "signs"),  # full stops that IDNA makes dots
        ("https://gracedb.ligo\uff0eorg/", "signs"),
        ("https://xn--grcedb-2nf.ligo.org/", "not on the list"),
        ("https://gracedb.ligo.org/\nHost: evil", "signs"),
        (" https://gracedb.ligo.org/", "signs"),
        ("ht\ttps://gracedb.ligo.org/", "signs"),
        ("javascript:alert(1)//gracedb.ligo.org", "neither http nor https"),
        ("file:///etc/passwd", "neither http nor https"),
        ("ftp://gracedb.ligo.org/", "neither http nor https"),
        ("gopher://gracedb.ligo.org/", "neither http nor https"),
        ("//gracedb.ligo.org/", "neither http nor https"),
        ("gracedb.ligo.org", "neither http nor https"),
        ("", "neither http nor https"),
        ("https:///x", "host name"),
        ("https://127.0.0.1/", "host name"),
        ("https://2130706433/", "host name"),
        ("https://0x7f.1/", "host name"),
        ("https://localhost/", "host name"),
        ("https://[::1]/", "host name"),
        ("https://[::ffff:127.0.0.1]/", "host name"),
        ("https://[::1%25eth0]/", "link"),
        ("https://[gracedb.ligo.org]/", "link"),
        ("https://gracedb.ligo.org]/", "link"),
        ("https://gracedb.ligo.org/" + "a" * 3000, "longer"),
    ],
)
def test_any_other_link_is_refused_with_the_rule(url: str, rule: str) -> None:
    with pytest.raises(Refused, match=rule):
        permitted(url, HOSTS)


@given(
    st.text()
    | st.builds(
        "".join,
        st.lists(
            st.sampled_from(
                [
                    *(
                        "http",
                        "https",
                        ":",
                        "/",
                        "//",
                        "@",
                        "\\",
                        "[",
                        "]",
                        "%",
                        "?",
                        "#",
                        ".",
                        "\t",
                    ),
                    *("gracedb.ligo.org", "evil.example", "127.0.0.1", "443", "::1", "\u3002"),
                ]
            ),
            max_size=9,
        ),
    )
)
def test_whatever_the_text_only_a_listed_host_comes_out(url: str) -> None:
    try:
        asked = permitted(url, HOSTS)
    except Refused:
        return
    # by the text alone, with no parser that could share a fault with the code
    assert asked.startswith(tuple(f"https://{host}/" for host in HOSTS))


def test_the_list_holds_host_names_and_no_addresses() -> None:
    assert all(is_host(host) for host in HOSTS)
    for name in (
        "127.0.0.1",
        "::1",
        "localhost",
        "GCN.nasa.gov",
        "a.b/c",
        "*.nasa.gov",
        "gcn.nasa.",
    ):
        assert not is_host(name), name


# -- which addresses -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254",
        "ff02::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::a00:1",
        "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1", "::127.0.0.1",
    ],
)  # fmt: skip
def test_an_address_of_no_public_host_is_known_in_every_notation(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "131.215.1.1", "2607:f8b0::1", "2a00:1450:4001::1", "64:ff9b::808:808"]
)
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "answers",
    [["127.0.0.1"], ["10.0.0.1"], ["::1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"]],
)
def test_a_listed_name_that_leads_inside_is_refused_before_any_connection(
    server: LinkServer, answers: list[str]
) -> None:
    network = server.network(lambda host, port: answers, is_public)
    with pytest.raises(Refused, match="public internet"):
        fetch(URL, POLICY, network)
    assert (server.dialled, server.seen) == ([], [])


def test_a_name_that_moves_inside_after_the_look_gains_nothing(server: LinkServer) -> None:
    server.answers["/map.fits"] = FITS
    asked = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["8.8.8.8"] if len(asked) == 1 else ["127.0.0.1"]

    network = server.network(rebinding, is_public)
    assert fetch(URL, POLICY, network) == FITS
    # one look, and the connection went to what was looked at
    assert asked == [HOST]
    assert server.dialled == [("8.8.8.8", 443)]
    with pytest.raises(Refused, match=r"127\.0\.0\.1"):
        fetch(URL, POLICY, network)
    assert server.dialled == [("8.8.8.8", 443)]


def test_without_a_test_network_loopback_is_refused_and_nothing_is_resolved_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def getaddrinfo(host: str, *args: object, **more: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(Refused, match="public internet"):
        fetch("https://gracedb.ligo.org/x", Policy())
    assert asked == ["gracedb.ligo.org"]


def test_a_name_that_cannot_be_resolved_may_be_later() -> None:
    def nobody(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(Retryable, match="cannot be resolved"):
        fetch(URL, POLICY, Network(resolve=nobody))


# -- what is sent, and what comes back -----------------------------------------------------


def test_the_file_comes_as_it_was_sent_and_the_request_says_only_who_asks(
    server: LinkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what other clients would take from the environment
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", "/nonexistent")
    packed = gzip.compress(FITS)
    server.answers["/a%20b.fits.gz?v=1"] = packed
    assert fetch(f"http://{HOST}/a%20b.fits.gz?v=1", POLICY, server.network()) == packed
    ((path, headers),) = server.seen
    assert path == "/a%20b.fits.gz?v=1"
    assert headers.pop("User-Agent").startswith("mmcoord/")
    assert headers == {
        "Host": HOST,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


def test_cookies_are_not_carried_from_one_hop_to_the_next(server: LinkServer) -> None:
    server.answers["/map.fits"] = lambda h: h.reply(302, Location="/b", Set_Cookie="a=1; Path=/")
    server.answers["/b"] = FITS
    assert fetch(URL, POLICY, server.network()) == FITS
    assert all("Cookie" not in headers for _, headers in server.seen)


def test_a_certificate_for_another_name_is_not_accepted(server: LinkServer) -> None:
    policy = replace(POLICY, hosts=frozenset({"third.example.org"}))
    with pytest.raises(Retryable, match=r"[Cc]ertificate"):
        fetch("https://third.example.org/map.fits", policy, server.network())
    assert server.seen == []


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, NotThereYet), (410, NotThereYet), (403, Retryable), (429, Retryable),
        (500, Retryable), (503, Retryable), (204, Retryable), (304, Retryable),
        (400, Refused), (405, Refused), (451, Refused),
    ],
)  # fmt: skip
def test_a_status_says_whether_asking_again_makes_sense(
    server: LinkServer, status: int, error: type[Exception]
) -> None:
    server.answers["/map.fits"] = lambda h: h.reply(status)
    with pytest.raises(error, match=str(status)) as caught:
        fetch(URL, POLICY, server.network())
    assert type(caught.value) is error


def test_nobody_listening_may_be_otherwise_later() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, and not listening

        def refused(address: str, port: int, timeout_s: float) -> object:
            import httpcore

            at = nobody.getsockname()[1]
            return httpcore.SyncBackend().connect_tcp("127.0.0.1", at, timeout_s)

        network = Network(lambda h, p: ["127.0.0.1"], refused, lambda a: True)  # type: ignore[arg-type]
        with pytest.raises(Retryable, match="ConnectError"):
            fetch(URL, POLICY, network)


# -- redirects -----------------------------------------------------------------------------


def test_up_to_three_redirects_within_the_list_are_followed(server: LinkServer) -> None:
    server.answers |= {
        "/map.fits": lambda h: h.reply(301, Location="/b"),
        "/b": lambda h: h.reply(307, Location=f"http://{OTHER}/c"),
        "/c": lambda h: h.reply(302, Location="d"),
        "/d": FITS,
    }
    assert fetch(URL, POLICY, server.network()) == FITS
    assert [headers["Host"] for _, headers in server.seen] == [HOST, HOST, OTHER, OTHER]


def test_a_redirect_loop_ends(server: LinkServer) -> None:
    server.answers["/map.fits"] = lambda h: h.reply(302, Location="/map.fits")
    with pytest.raises(Refused, match="more than 3 redirects"):
        fetch(URL, POLICY, server.network())
    assert len(server.seen) == 4


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/map.fits", "//evil.example/", "http://169.254.169.254/latest/",
        "http://127.0.0.1/", "file:///etc/passwd", f"https://u:p@{HOST}/", f"https://{HOST}:8080/",
        "javascript:alert(1)", "https://[::1]/",
    ],
)  # fmt: skip
def test_a_redirect_out_of_the_list_is_refused(server: LinkServer, target: str) -> None:
    server.answers["/map.fits"] = lambda h: h.reply(302, Location=target)
    with pytest.raises(Refused):
        fetch(URL, POLICY, server.network())
    assert len(server.seen) == len(server.dialled) == 1


def test_a_redirect_to_a_listed_name_that_leads_inside_is_refused(server: LinkServer) -> None:
    server.answers["/map.fits"] = lambda h: h.reply(302, Location=f"https://{OTHER}/x")
    network = server.network(lambda h, p: ["8.8.8.8" if h == HOST else "10.0.0.1"], is_public)
    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        fetch(URL, POLICY, network)
    assert server.dialled == [("8.8.8.8", 443)]


# -- bombs ---------------------------------------------------------------------------------

SMALL = replace(POLICY, max_bytes=200_000, max_expanded_bytes=5_000_000)


def endless(handler: Handler) -> None:
    handler.begin(200, Connection="close")
    while True:
        handler.wfile.write(b"\0" * 65536)


def endless_chunks(handler: Handler) -> None:
    handler.begin(200, Transfer_Encoding="chunked")
    while True:
        handler.wfile.write(b"10000\r\n" + b"\0" * 65536 + b"\r\n")


def test_a_body_without_end_stops_at_the_limit(server: LinkServer) -> None:
    for answer in (endless, endless_chunks):
        server.answers["/map.fits"] = answer
        with pytest.raises(Refused, match="more than 200000 bytes"):
            fetch(URL, SMALL, server.network())


def test_a_length_beyond_the_limit_is_refused_before_the_body(server: LinkServer) -> None:
    def announce(handler: Handler) -> None:
        handler.begin(200, Content_Length="999999999999")
        time.sleep(20)  # a reader of the body would wait

    server.answers["/map.fits"] = announce
    with pytest.raises(Refused, match="more than 200000 bytes"):
        fetch(URL, replace(SMALL, timeout_s=10.0), server.network())


def test_a_body_of_exactly_the_limit_is_taken(server: LinkServer) -> None:
    server.answers["/map.fits"] = FITS
    limit = replace(POLICY, max_bytes=len(FITS))
    assert fetch(URL, limit, server.network()) == FITS
    with pytest.raises(Refused):
        fetch(URL, replace(POLICY, max_bytes=len(FITS) - 1), server.network())


@pytest.mark.parametrize(
    "bomb",
    [
        gzip.compress(b"\0" * 6_000_000),
        gzip.compress(b"\0" * 3_000_000) * 2,
        gzip.compress(b"") * 10_001,
    ],
    ids=["zeros", "two members", "many members"],
)
def test_a_gzip_that_swells_is_refused(server: LinkServer, bomb: bytes) -> None:
    server.answers["/map.fits"] = bomb
    with pytest.raises(Refused, match="gzip"):
        fetch(URL, replace(SMALL, max_bytes=2**20), server.network())


@pytest.mark.parametrize("sizes", [[4_999_999], [2_000_000, 2_999_999], [100_000] * 40])
def test_a_gzip_within_the_limit_is_taken_whole(server: LinkServer, sizes: list[int]) -> None:
    packed = b"".join(gzip.compress(bytes(size)) for size in sizes)
    server.answers["/map.fits"] = packed
    assert fetch(URL, SMALL, server.network()) == packed


def test_a_gzip_cut_short_or_broken_may_be_whole_later(server: LinkServer) -> None:
    packed = gzip.compress(bytes(range(256)) * 200)
    for part in (packed[:-20], packed[:12] + b"\xff" * 40):
        server.answers["/map.fits"] = part
        with pytest.raises(Retryable, match="gzip"):
            fetch(URL, SMALL, server.network())


def test_a_connection_cut_short_may_be_whole_later(server: LinkServer) -> None:
    def cut(handler: Handler) -> None:
        handler.begin(200, Content_Length="5760")
        handler.wfile.write(FITS)

    server.answers["/map.fits"] = cut
    with pytest.raises(Retryable):
        fetch(URL, POLICY, server.network())


def test_an_encoding_that_was_not_asked_for_is_refused(server: LinkServer) -> None:
    server.answers["/map.fits"] = lambda h: h.reply(200, FITS, Content_Encoding="br")
    with pytest.raises(Refused, match="br"):
        fetch(URL, POLICY, server.network())


def drip_body(handler: Handler) -> None:
    handler.begin(200, Content_Length="100000")
    while True:
        handler.wfile.write(b"S")
        time.sleep(0.05)


def drip_head(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        handler.wfile.write(b"s")
        time.sleep(0.05)


@pytest.mark.parametrize("answer", [drip_body, drip_head])
def test_a_server_that_drips_is_left_at_the_end_of_the_time(
    server: LinkServer, answer: object
) -> None:
    server.answers["/map.fits"] = answer  # type: ignore[assignment]
    # Each byte comes in time; without a limit for the whole this would go on for hours.
    with pytest.raises(Retryable, match="too long"):
        fetch(URL, replace(POLICY, timeout_s=0.6), server.network())


def test_a_server_that_stalls_is_left_at_the_end_of_the_time(server: LinkServer) -> None:
    def stall(handler: Handler) -> None:
        time.sleep(2.0)
        handler.reply(200, FITS)  # whoever is still there gets everything

    server.answers["/map.fits"] = stall
    with pytest.raises(Retryable, match="too long"):
        fetch(URL, replace(POLICY, timeout_s=0.4), server.network())


def test_a_transfer_ends_when_the_service_stops(server: LinkServer) -> None:
    server.answers["/map.fits"] = drip_body
    looks = iter(range(1000))
    with pytest.raises(Retryable, match="stopped"):
        fetch(URL, POLICY, server.network(), stopped=lambda: next(looks) > 8)
