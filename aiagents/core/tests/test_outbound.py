"""The one way out: where it refuses to go, what it takes along, and how much it puts up with."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
import tracemalloc
import zlib

import pytest

from aiagents.core.errors import AppError, InvalidRequest
from aiagents.core.outbound import addresses, destinations
from aiagents.core.outbound import guard as outbound
from aiagents.core.outbound.guard import BlockedUrl, Limits, OutboundFailed, TooSlow, fetch
from aiagents.core.tests.elsewhere import PUBLIC, Names, Server, redirect, reply, serving

SECRET = {"Authorization": "Bearer planted-secret", "X-Api-Key": "planted-secret", "Accept": "text/plain"}


@pytest.fixture
def names(monkeypatch) -> Names:
    found = Names()
    monkeypatch.setattr(socket, "getaddrinfo", found.look_up)
    return found


@pytest.fixture(autouse=True)
def _one_public_address(monkeypatch):
    real = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda address: address == PUBLIC or real(address))


@pytest.fixture
def dialled(monkeypatch) -> list[str]:
    """Every address to which a connection was tried."""
    found: list[str] = []
    real = socket.socket.connect

    def connect(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple):
            found.append(address[0])
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return found


PRIVATE = [
    "http://127.0.0.1/", "http://localhost/", "http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/",
    "http://①②⑦.0.0.1/", "http://0/", "http://0.0.0.0/", "http://10.0.0.1/", "http://172.16.0.1/", "http://172.31.255.255/",
    "http://192.168.1.1/", "http://100.64.0.1/", "http://169.254.169.254/latest/meta-data/", "http://2852039166/", "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/", "http://192.0.0.8/", "http://198.18.0.1/", "http://224.0.0.1/", "http://240.0.0.1/",
    "http://255.255.255.255/", "http://168.63.129.16/", "http://100.100.100.200/",
    "http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:a9fe:a9fe]/", "http://[::127.0.0.1]/",
    "http://[0:0:0:0:0:ffff:7f00:1]/", "http://[64:ff9b::a00:1]/", "http://[64:ff9b::a9fe:a9fe]/", "http://[2002:a00:1::1]/",
    "http://[2001:0:1::1]/", "http://[fc00::1]/", "http://[fd00:ec2::254]/", "http://[fe80::1]/", "http://[ff02::1]/", "http://[::ffff:0:7f00:1]/",
]  # fmt: skip
MISSPELT = [
    "http://user@example.com/", "http://user:pass@example.com/", "http://@example.com/", "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1#@example.com/", "http://exa mple.com/", "http://example.com/\r\nHost: x", "http://example.com/\t", "http://example.com/\x00",
    "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "unix:///var/run/docker.sock", "javascript:alert(1)",
    "data:text/plain,x",
    "//example.com/", "example.com", "http://", "http:///path", "https://[::1", "http://example.com:99999/", "http://example.com:x/",
    "http://example.com:22/", "http://example.com:25/", "http://example.com:0/", "http://" + "a" * 9000, "",
]  # fmt: skip


@pytest.mark.parametrize("url", [*PRIVATE, *MISSPELT])
async def test_no_packet_goes_to_what_is_not_public(url: str, dialled: list[str]):
    with pytest.raises(BlockedUrl) as caught:
        await fetch("GET", url, headers=SECRET)
    assert (caught.value.code, caught.value.status) == ("blocked_url", 400) and dialled == []
    with pytest.raises(BlockedUrl):
        outbound.check_url(url)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[fd00:ec2::254]", "168.63.129.16",
     "100.100.100.200",
     "192.0.0.192", "[fe80::1]", "224.0.0.1", "0.0.0.0"],
)  # fmt: skip
async def test_metadata_services_are_refused_inside_ones_own_network_too(address: str, dialled: list[str]):
    with pytest.raises(BlockedUrl):
        await fetch("GET", f"http://{address}/latest/meta-data/", allow_private=True)
    assert dialled == []


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "2a00:1450:4001:0:0:0:0:200e", "2606:4700::a9fe:a9fe", "8.8.8.8"])
def test_ordinary_addresses_are_public(address: str):
    assert addresses.may_reach(address, allow_private=False)


async def test_ones_own_public_address_is_not_elsewhere(monkeypatch, dialled: list[str]):
    monkeypatch.setattr(addresses, "own_addresses", (time.monotonic() + 1000, frozenset({"93.184.216.34"})))
    with pytest.raises(BlockedUrl):
        await fetch("GET", "http://93.184.216.34/")
    assert dialled == []


async def test_it_answers_what_a_public_server_said(names: Names):
    names.add("good.example", [PUBLIC])
    async with serving(reply("grüß".encode("latin-1"), "201 Created", "text/plain; charset=iso-8859-1", "X-Note: yes")) as server:
        answer = await fetch("POST", server.url("/a%20b?c=d", "good.example"), headers={"X-One": "1"}, body=b"{}")
    assert (answer.status, answer.text, answer.media_type, answer.headers["x-note"]) == (201, "grüß", "text/plain", "yes")
    assert server.requests[0].startswith(b"POST /a%20b?c=d HTTP/1.1\r\n") and server.requests[0].endswith(b"\r\n\r\n{}")
    assert server.headers()["host"] == f"good.example:{server.port}" and server.headers()["x-one"] == "1"


async def test_a_name_with_one_private_address_is_refused(names: Names, dialled: list[str]):
    for found in ([PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC, "::1"], []):
        names.add("mixed.example", found)
        with pytest.raises(BlockedUrl):
            await fetch("GET", "http://mixed.example/")
    assert dialled == []


async def test_a_name_that_answers_differently_the_second_time_gains_nothing(names: Names, dialled: list[str]):
    async with serving(reply(b"public")) as server, serving(reply(b"internal"), "127.0.0.1") as inside:
        names.add("rebind.example", [PUBLIC], ["127.0.0.1"])
        answer = await fetch("GET", server.url("/", "rebind.example"))
    assert answer.body == b"public" and names.asked == ["rebind.example"] and dialled == [PUBLIC] and inside.requests == []


async def test_a_look_up_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(destinations, "resolve_host", lambda host, port: time.sleep(4) or [PUBLIC])  # a slow server
    begun = time.monotonic()
    with pytest.raises(TooSlow):
        await fetch("GET", "http://slow.example/", limits=Limits(seconds=0.2))
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("to", [*PRIVATE[:16], *PRIVATE[25:33], "file:///etc/passwd", "gopher://example.com/", "http://u:p@example.com/",
                                "//169.254.169.254/", "http://example.com:22/", "\\\\127.0.0.1\\x", "http://[::1"])  # fmt: skip
async def test_every_redirect_is_judged_anew(to: str, dialled: list[str]):
    async with serving(redirect(to.replace("①②⑦", "127"))) as server:
        with pytest.raises(BlockedUrl):
            await fetch("GET", server.url(), headers=SECRET)
    assert set(dialled) == {PUBLIC}


async def test_what_is_vouched_for_is_one_host_not_those_it_names(dialled: list[str]):
    async with serving(reply(b"inside"), "127.0.0.2") as other, serving(redirect(other.url()), "127.0.0.1") as server:
        with pytest.raises(BlockedUrl):
            await fetch("GET", server.url(), allow_private=True)
    assert other.requests == []
    async with serving(redirect("http://169.254.169.254/"), "127.0.0.1") as server:
        with pytest.raises(BlockedUrl):
            await fetch("GET", server.url(), allow_private=True)
    assert set(dialled) == {"127.0.0.1"}


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"])
async def test_secrets_stay_with_their_host(status: str, names: Names):
    names.add("one.example", [PUBLIC])
    names.add("two.example", [PUBLIC])
    async with serving(reply(b"end")) as second:

        async def first(server: Server, request: bytes, writer: asyncio.StreamWriter) -> None:
            there = "/again" if len(server.requests) == 1 else second.url("/x", "two.example")
            writer.write(redirect(there, status, "Set-Cookie: session=1"))

        async with serving(first) as server:
            answer = await fetch("GET", server.url("/", "one.example"), headers=SECRET)
    assert answer.body == b"end" and answer.url == second.url("/x", "two.example")
    assert server.headers(1)["authorization"] == "Bearer planted-secret", "the same origin still gets them"
    assert b"planted-secret" not in second.requests[0] and second.headers()["accept"] == "text/plain"
    assert "cookie" not in second.headers() and "cookie" not in server.headers(1)


async def test_another_port_of_the_host_is_another_origin(names: Names):
    names.add("one.example", [PUBLIC])
    async with serving(reply()) as other, serving(redirect(other.url("/", "one.example"))) as server:
        await fetch("GET", server.url("/", "one.example"), headers=SECRET)
    assert b"planted-secret" in server.requests[0] and b"planted-secret" not in other.requests[0]


async def test_redirects_end(names: Names):
    async with serving(redirect("/again")) as server:
        with pytest.raises(OutboundFailed) as caught:
            await fetch("GET", server.url())
    assert caught.value.code == "too_many_redirects" and len(server.requests) == 6


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_what_changes_something_follows_nobody(method: str):
    async with serving(reply(b"end")) as other, serving(redirect(other.url(), "307 Temporary Redirect")) as server:
        answer = await fetch(method, server.url(), headers=SECRET, body=b"secret body")
    assert answer.status == 307 and other.requests == [] and len(server.requests) == 1


async def test_no_proxy_and_no_password_file_of_the_environment_is_used(monkeypatch, tmp_path, names: Names):
    names.add("good.example", [PUBLIC])
    (tmp_path / "netrc").write_text("machine good.example login me password planted-secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with serving(reply(b"proxy"), "127.0.0.1") as proxy, serving(reply(b"direct")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        answer = await fetch("GET", server.url("/", "good.example"))
    assert answer.body == b"direct" and proxy.requests == [] and "authorization" not in server.headers()


async def test_a_body_without_end_is_cut_at_the_cap():
    async def endless(server: Server, request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            server.sent += 65536
            await writer.drain()

    async with serving(endless) as server:
        answer = await fetch("GET", server.url(), limits=Limits(max_bytes=100_000))
        assert len(answer.body) == 100_000 and answer.truncated
        await asyncio.sleep(0.1)  # nothing more is to be sent
        assert server.sent < 20_000_000, "the connection was closed, not drained"


async def test_a_body_of_just_the_cap_is_whole():
    for size, cut in ((1000, False), (1001, True), (0, False)):
        async with serving(reply(b"x" * size)) as server:
            answer = await fetch("GET", server.url(), limits=Limits(max_bytes=1000))
        assert len(answer.body) == min(size, 1000) and answer.truncated is cut


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate"])
async def test_a_bomb_is_opened_no_further_than_the_cap(encoding: str):
    maker = zlib.compressobj(9, zlib.DEFLATED, {"gzip": 31, "deflate": 15, "raw deflate": -15}[encoding])
    megabyte = bytes(1024 * 1024)
    bomb = b"".join(maker.compress(megabyte) for _ in range(300)) + maker.flush()
    assert len(bomb) < 400_000
    async with serving(reply(bomb, "200 OK", "text/plain", f"Content-Encoding: {encoding.split()[-1]}")) as server:
        tracemalloc.start()
        answer = await fetch("GET", server.url(), limits=Limits(max_bytes=500_000))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(answer.body) == 500_000 and answer.truncated and peak < 8_000_000


async def test_compressed_bodies_are_read():
    async with serving(reply(gzip.compress(b"hello" * 100), "200 OK", "text/plain", "Content-Encoding: gzip")) as server:
        assert (await fetch("GET", server.url())).body == b"hello" * 100
    assert server.headers()["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("raw", [
    b"", b"\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 999999 X\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 5000 + b"\r\n",
    reply(b"not gzip", "200 OK", "text/plain", "Content-Encoding: gzip"),
    reply(gzip.compress(b"x" * 999)[:-9], "200 OK", "text/plain", "Content-Encoding: gzip"),
    reply(b"x", "200 OK", "text/plain", "Content-Encoding: br"), reply(b"x", "200 OK", "text/plain", "Content-Encoding: gzip, gzip"),
])  # fmt: skip
async def test_what_is_no_proper_answer_is_one_plain_error(raw: bytes):
    async with serving(raw) as server:
        with pytest.raises(OutboundFailed) as caught:
            await fetch("GET", server.url(), limits=Limits(seconds=3))
    assert server.host not in caught.value.message and "OpenSSH" not in caught.value.message


async def test_a_closed_port_is_told_like_any_failure():
    async with serving(reply()) as server:
        pass
    with pytest.raises(OutboundFailed) as caught:
        await fetch("GET", server.url())
    assert caught.value.retryable and caught.value.message == OutboundFailed.message


async def drip(server: Server, request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)  # a byte now and then


async def drip_head(server: Server, request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)  # a byte now and then


async def go_on(server: Server, request: bytes, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)  # an endless head


async def silence(server: Server, request: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)  # a server that hangs


async def slow_redirects(server: Server, request: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.2)  # slow, each time
    writer.write(redirect("/again"))


@pytest.mark.parametrize("script", [drip, drip_head, go_on, silence, slow_redirects])
async def test_the_time_is_for_all_of_it(script):
    async with serving(script) as server:
        begun = time.monotonic()
        with pytest.raises(TooSlow) as caught:
            await fetch("GET", server.url(), limits=Limits(seconds=0.5))
        assert time.monotonic() - begun < 4 and caught.value.status == 504
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and "handle" not in repr(task)]


async def test_only_asked_for_kinds_of_content_are_read():
    limits = Limits(content_types=("text/", "application/json", "+json"))
    for kind in ("text/html", "TEXT/Plain; charset=utf-8", "application/json", "application/hal+json"):
        async with serving(reply(b"x", "200 OK", kind)) as server:
            assert (await fetch("GET", server.url(), limits=limits)).body == b"x"
    for kind in ("image/png", "application/x+json2", "", "x/text/"):
        async with serving(reply(b"x", "200 OK", kind)) as server:
            with pytest.raises(OutboundFailed) as caught:
                await fetch("GET", server.url(), limits=limits)
            assert not caught.value.retryable


async def test_nothing_at_all_is_of_every_kind():
    limits = Limits(content_types=("text/",))
    for raw in (b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"):
        async with serving(raw) as server:
            assert (await fetch("DELETE", server.url(), limits=limits)).body == b""
    async with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx") as server:
        with pytest.raises(OutboundFailed):
            await fetch("GET", server.url(), limits=limits)


@pytest.mark.parametrize("headers", [{"Host": "internal"}, {"Content-Length": "5"}, {"transfer-encoding": "chunked"}, {"X": "a\r\nY: b"},
                                     {"X": "a\x00"},
                                     {"X Y": "a"}, {"": "a"}, {"X": "€"}, {"Connection": "keep-alive"}, {"X": "a" * 9000}])  # fmt: skip
async def test_headers_that_would_be_another_request_are_refused(headers: dict[str, str], dialled: list[str]):
    with pytest.raises(InvalidRequest):
        await fetch("GET", f"http://{PUBLIC}/", headers=headers)
    assert dialled == []


async def test_methods_are_a_closed_set():
    for method in ("TRACE", "CONNECT", "get", "GET / HTTP/1.1\r\nX: y\r\n\r\nGET"):
        with pytest.raises(AppError):
            await fetch(method, f"http://{PUBLIC}/")
