"""Connections against servers that say exactly what a test has them say, in the pieces that it chooses."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Refused, Unavailable
from common.transport.connection import SLICE, BrokenError, Connection
from common.transport.http import Request, Transport
from common.transport.message import Chunks, ProtocolError, request_head
from common.trust import LOOK_SECONDS, Trust
from tests.bench.serve import certify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Script:
    """A server that runs `serve` on every connection, and counts them."""

    def __init__(self) -> None:
        self.connections = 0
        self.closed = asyncio.Semaphore(0)
        self.heads: list[bytes] = []
        self.url = ""

    async def head(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        return head


@asynccontextmanager
async def scripted(script: Script, serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[Script]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script.connections += 1
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            script.closed.release()
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    script.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield script


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport(stall_seconds=2)
    yield transport
    await transport.close()


def answering(script: Script, *pieces: bytes, close: bool = False) -> Serve:
    """Say these pieces, one after the other, to every request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await script.head(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)
            if close:
                return

    return serve


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 404, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304\r\ncontent-length: 10\r\n\r\n", 304, b""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\n\r\n\r\n0\r\nx-late: 1\r\n\r\n",
            200,
            b"abc\r\n",
        ),
        (b'HTTP/1.1 200 OK\r\nX:\r\nETag: "a:b" \r\ncontent-length: 1\r\n\r\n:', 200, b":"),
    ],
)
async def test_an_answer_may_come_in_any_form(transport: Transport, answer: bytes, status: int, body: bytes) -> None:
    # Given a server that says it byte by byte, and one that says it at once
    for pieces in ([answer[at : at + 1] for at in range(len(answer))], [answer]):
        async with scripted(script := Script(), answering(script, *pieces)):
            # When it is asked twice
            for _ in range(2):
                found = await transport.send(Request("GET", script.url + "/", expect=100))
                # Then it is understood, and the connection is in step for the next request
                assert (found.status, found.body) == (status, body)
            assert script.connections == (2 if status == 304 else 1)  # one that announces a body is listened to at first


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/2 200\r\n\r\n", "does not begin"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "does not begin"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "a header that is none"),
        (b"HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n", "a header that is none"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nContent-Length: 3\r\n\r\nabc", "several headers content-length"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nab", "not a number"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nab", "not a number"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "transfer coding"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", "without a size"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabcd", "longer than it says"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000, "longer than"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n", "longer than"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nabc", "47 bytes missing"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc", "before the end"),
        (b"HTTP/1.1 200 OK\r\ncont", "before an answer"),
        (b"", "before an answer"),
    ],
)
async def test_what_is_not_a_whole_answer_is_an_error(transport: Transport, answer: bytes, says: str) -> None:
    async with scripted(script := Script(), answering(script, answer, close=True)):
        with pytest.raises(Unavailable, match=says):
            await transport.send(Request("GET", script.url + "/?secret=1", expect=100))
        assert script.connections == 1  # a fresh connection that fails is the caller's to try again


async def test_a_body_may_end_with_the_connection(transport: Transport) -> None:
    # Given a server that announces no length, as HTTP/1.0 servers and some edges do
    async with scripted(script := Script(), answering(script, b"HTTP/1.1 200 OK\r\n\r\n", b"some ", b"bytes", close=True)):
        for _ in range(2):
            found = await transport.send(Request("GET", script.url + "/", expect=100))
            # Then what came is the body, whose length the caller knows, and the connection is not used again
            assert found.body == b"some bytes"
        assert script.connections == 2


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(transport: Transport) -> None:
    # Given a server that closes each connection behind the second request, without an answer to it
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await script.head(reader)
        writer.write(OK)
        await script.head(reader)

    async with scripted(script := Script(), serve):
        # When it is asked again and again, then each request is answered
        for _ in range(3):
            assert (await transport.send(Request("PUT", script.url + "/", body=b"x", expect=100))).body == b"ok"
        assert (script.connections, len(script.heads)) == (3, 5)


async def test_a_connection_that_ends_before_it_is_used_is_noticed_at_once(transport: Transport) -> None:
    # Given a connection that the server has closed between its opening and the first request
    async with scripted(script := Script(), answering(script, OK)):
        loop = asyncio.get_running_loop()
        host, port = script.url.rpartition("/")[2].split(":")
        scratch = memoryview(bytearray(1000))
        raw, connection = await loop.create_connection(lambda: Connection(scratch), host, int(port))
        raw.abort()
        await asyncio.sleep(0)
        # When a request is to be sent on it, then that fails, and does not wait until the silence has lasted too long
        with pytest.raises(BrokenError, match="before the request was sent"):
            await asyncio.wait_for(connection.exchange(b"GET / HTTP/1.1\r\n\r\n", b"", 10, head_only=False), 20)


async def test_a_refusal_in_the_middle_of_a_large_body_is_heard(transport: Transport) -> None:
    # Given a server that says no as soon as it has seen the headers, and reads no further
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await script.head(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
        await writer.drain()
        await asyncio.sleep(30)

    async with scripted(script := Script(), serve):
        found = await transport.send(Request("PUT", script.url + "/", body=bytes(64 * SLICE), expect=100))
        # Then the refusal is the answer, and the half-sent request is not followed by another on its connection
        assert (found.status, found.body) == (403, b"no")
        found = await transport.send(Request("PUT", script.url + "/", body=b"", expect=100))
        assert script.connections == 2


async def test_large_bodies_go_both_ways(transport: Transport) -> None:
    # Given a server that returns what it is sent
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await script.head(reader):
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length + body)
            await writer.drain()

    async with scripted(script := Script(), serve):
        for size in (SLICE - 1, SLICE, SLICE + 1, 5 * SLICE + 7):
            body = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
            found = await transport.send(Request("PUT", script.url + "/", body=body, expect=size))
            assert found.body == body
        assert script.connections == 1


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_server_may_close_right_behind_a_large_body(
    caplog: pytest.LogCaptureFixture, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    body = b"x" * 1_000_000

    async def ask() -> None:
        transport = Transport()
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        async with scripted(script := Script(), answering(script, answer, close=True)):
            for _ in range(20):
                assert (await transport.send(Request("GET", script.url + "/", expect=len(body)))).body == body
        await transport.close()

    # Given a server that closes each connection, when many answers have come, then no loop has complained
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(ask())
    assert caplog.records == []


async def test_a_server_that_stops_reading_is_given_up() -> None:
    # Given a transport with little patience, and a server that takes nothing of a large body
    transport = Transport(stall_seconds=0.2)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await script.head(reader)
        await asyncio.sleep(30)

    async with scripted(script := Script(), serve):
        with pytest.raises(Unavailable, match="nothing moved"):
            await transport.send(Request("PUT", script.url + "/", body=bytes(64 * SLICE)))
        await transport.close()


async def test_bytes_that_nobody_asked_for_end_the_connection(transport: Transport) -> None:
    # Given a server that says more than its answer, at once or a little later
    for pieces in ([OK + b"HTTP/1.1 200 OK\r\n"], [OK, b"HTTP/1.1 200 OK\r\n"]):
        async with scripted(script := Script(), answering(script, *pieces)):
            for _ in range(2):
                assert (await transport.send(Request("GET", script.url + "/", expect=100))).body == b"ok"
                await asyncio.wait_for(script.closed.acquire(), 20)
            # Then those bytes are never taken for the beginning of the next answer
            assert script.connections == 2


async def test_no_more_connections_than_allowed() -> None:
    # Given a transport with two connections, and a server that takes its time
    transport, now, most = Transport(most_connections=2), 0, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        while True:
            await script.head(reader)
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.005)
            now -= 1
            writer.write(OK)

    async with scripted(script := Script(), serve):
        sending = [asyncio.create_task(transport.send(Request("GET", script.url + "/", expect=9))) for _ in range(20)]
        await asyncio.sleep(0.002)
        for task in sending[3::4]:
            task.cancel()
        results = await asyncio.gather(*sending, return_exceptions=True)
        # Then everybody is served in turn, whoever gave up meanwhile
        assert [getattr(found, "body", None) for found in results] == [None if n % 4 == 3 else b"ok" for n in range(20)]
        assert most == 2
        await transport.close()


async def test_over_tls_with_a_private_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server whose certificate no public authority has signed, that sends and takes large bodies
    certificate = certify(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.key)
    body = bytes(range(256)) * (3 * SLICE // 256) + b"the end"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await script.head(reader):
            taken = await reader.readexactly(len(body))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(taken) + taken)
            await writer.drain()

    async with scripted(script := Script(), serve, context):
        # When its authority is not named, then nothing is sent to it, and the error says what to do
        transport = Transport()
        with pytest.raises(Unavailable, match=r"not trusted.*SSL_CERT_FILE"):
            await transport.send(Request("PUT", script.url + "/", body=body, expect=len(body)))
        await transport.close()
        assert script.heads == []
        # When it is, then bytes go both ways
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca))
        transport = Transport()
        for _ in range(2):
            assert (await transport.send(Request("PUT", script.url + "/", body=body, expect=len(body)))).body == body
        await transport.close()
    assert len(script.heads) == 2


def signed_by_another(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """The file of an authority, and a server's context whose certificate it has signed."""
    folder.mkdir()
    certificate = certify(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.key)
    return certificate.ca, context


async def test_an_authority_that_is_replaced_is_trusted_without_a_restart(tmp_path: Path) -> None:
    # Given a transport that trusts the authority in a file, reached by a link as in Kubernetes
    first, old_server = signed_by_another(tmp_path / "first")
    second, new_server = signed_by_another(tmp_path / "second")
    bundle, seconds = tmp_path / "bundle.pem", [1000.0]
    bundle.symlink_to(first)
    transport = Transport()
    transport._trust = Trust({"SSL_CERT_FILE": str(bundle)}, clock=lambda: seconds[0])

    async def ask(server: Script) -> int:
        return (await transport.send(Request("GET", server.url + "/", expect=9))).status

    before, after = Script(), Script()
    async with scripted(before, answering(before, OK), old_server), scripted(after, answering(after, OK), new_server):
        assert await ask(before) == 200
        # When a server has a certificate of another authority, then it is refused with the name of the file
        with pytest.raises(Unavailable, match=rf"not trusted.*SSL_CERT_FILE \({bundle}\): add the server's own to it"):
            await ask(after)
        # When the file is replaced, then the next second's connections trust what it holds
        (tmp_path / "next").symlink_to(second)
        (tmp_path / "next").rename(bundle)
        with pytest.raises(Unavailable, match="not trusted"):
            await ask(after)
        seconds[0] += LOOK_SECONDS
        assert await ask(after) == 200
        # And the connection that was open goes on
        assert await ask(before) == 200
        assert before.connections == 1
        # When it is looked at while somebody writes it, then what was trusted is trusted still
        kept = transport._trust.context()
        (tmp_path / "half").write_text("-----BEGIN CERTIFICATE-----\nMII")
        (tmp_path / "half").rename(bundle)
        seconds[0] += LOOK_SECONDS
        assert transport._trust.context() is kept
        await transport.close()


async def test_a_certificate_for_another_name_is_not_blamed_on_the_authority(tmp_path: Path) -> None:
    ca, context = signed_by_another(tmp_path / "authority")
    transport = Transport()
    transport._trust = Trust({"SSL_CERT_FILE": str(ca)})
    async with scripted(script := Script(), answering(script, OK), context):
        with pytest.raises(Unavailable, match="check the name of the endpoint"):
            await transport.send(Request("GET", script.url.replace("127.0.0.1", "127.1") + "/"))
    await transport.close()


async def test_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server that can be reached by a proxy only
    certificate = certify(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca))

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await proxy.head(reader)
        if b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        host, port = head.split(b" ")[1].decode().split(":")
        inner, outer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(carry(reader, outer), carry(inner, writer))
        finally:
            outer.close()

    proxy, server = Script(), Script()
    async with scripted(server, answering(server, OK), context), scripted(proxy, connect):
        for name in ("https_proxy", "no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//me:secret@"))
        transport = Transport()
        # When requests are sent, then they come out at the other end, on one connection
        for _ in range(2):
            assert (await transport.send(Request("GET", server.url + "/", expect=9))).body == b"ok"
        assert (proxy.connections, server.connections) == (1, 1)
        await transport.close()
        # When the proxy refuses, then the error says so, and not with what
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//me:wrong@"))
        transport = Transport()
        with pytest.raises(Unavailable, match=r"does not let us through.*407") as caught:
            await transport.send(Request("GET", server.url + "/"))
        assert "wrong" not in str(caught.value)
        # And what is excepted does not ask it
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert (await transport.send(Request("GET", server.url + "/", expect=9))).body == b"ok"
        assert proxy.connections == 2
        await transport.close()


@pytest.mark.parametrize(
    ("target", "header"),
    [("/", ("x", "a\r\nhost: elsewhere")), ("/", ("x", "a\nb")), ("/", ("x\r", "a")), ("/a b", ("x", "a")), ("/\n", ("x", "a"))],
)
async def test_nothing_can_be_smuggled_into_a_request(transport: Transport, target: str, header: tuple[str, str]) -> None:
    async with scripted(script := Script(), answering(script, OK)):
        with pytest.raises(Refused, match="line break or a space"):
            await transport.send(Request("GET", script.url + target, [header]))
        assert script.heads == []


def test_a_request_as_it_stands_on_the_wire() -> None:
    head = request_head("PUT", "/a%20b?c", "h:1", [("Content-Type", ""), ("x-amz-meta-a", "b"), ("Accept-Encoding", "gzip")], 0)
    assert head == (
        b"PUT /a%20b?c HTTP/1.1\r\nHost: h:1\r\nUser-Agent: bucketbrigade\r\nx-amz-meta-a: b\r\nAccept-Encoding: gzip\r\n"
        b"Content-Length: 0\r\n\r\n"
    )


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(0, 300), max_size=9), st.binary(max_size=5))
@settings(max_examples=200, deadline=None)
def test_chunks_are_put_together_wherever_they_were_cut(parts: list[bytes], cuts: list[int], behind: bytes) -> None:
    # Given a body in chunks, cut at any places
    wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    places = sorted({min(cut, len(wire)) for cut in cuts} | {0, len(wire)})
    chunks = Chunks()
    # When it is fed piece by piece, the last one with something behind it
    for start, end in itertools.pairwise(places):
        last = end == len(wire)
        assert chunks.feed(wire[start:end] + (behind if last else b"")) == last
    # Then it is what was sent, and what was behind it is left
    assert bytes(chunks.body) == b"".join(parts)
    assert chunks.rest == behind


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_bytes_upset_the_reading_of_chunks(wire: bytes) -> None:
    chunks = Chunks()
    try:
        whole = chunks.feed(wire)
    except ProtocolError:
        return
    assert len(chunks.body) + len(chunks.rest) <= len(wire)
    assert whole or not chunks.rest
