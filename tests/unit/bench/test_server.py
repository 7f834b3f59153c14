"""The benchmark server itself: what the bench asks of it, and what may happen on the wire."""

from __future__ import annotations

import functools
import json
import random
import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from common.storage.base import MIB
from tests.bench import build
from tests.bench.serve import bench_server
from tests.servers import ServerMissing, missing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.serve import BenchServer

from tests.unit.bench.talking import DIRECT, conversation, crc32c, put, read, s3_client


class TestControl:
    def test_verify_tells_equal_missing_different_and_extra_apart(self, server, buckets):
        # Given 5 objects, of which 4 are copied, one of them with another byte, and one that nobody asked for
        source, destination = buckets
        server.fill(source, count=5, size=1000, prefix="k/")
        s3 = s3_client(server)
        for number in range(4):
            data = s3.get_object(Bucket=source, Key=f"k/{number:08}")["Body"].read()
            s3.put_object(Bucket=destination, Key=f"k/{number:08}", Body=data[:-1] + b"!" if number == 3 else data)
        s3.put_object(Bucket=destination, Key="other", Body=b"")

        # When
        verdict = server.verify(source, destination)

        # Then
        assert (verdict.objects, verdict.equal, verdict.missing, verdict.different, verdict.extra) == (5, 3, 1, 1, 1)
        assert verdict.writes == 5
        assert not verdict.perfect

    def test_filling_twice_makes_the_same_bytes_and_dropping_empties(self, server, buckets):
        for name in buckets:
            server.fill(name, count=20, size=777)
        assert server.verify(*buckets).perfect
        assert server.drop(buckets[1]) == 20
        assert server.verify(*buckets).missing == 20
        assert len({read(server, f"/{buckets[0]}/{number:08}") for number in range(20)}) == 20

    def test_the_counters_leave_out_the_control_requests(self, server, buckets):
        before = server.stats()
        conversation(server, put(f"/{buckets[0]}/k", b"data"), f"GET /{buckets[0]}/k HTTP/1.1\r\n\r\n".encode())
        after = server.stats()
        assert (after.requests - before.requests, after.puts - before.puts, after.gets - before.gets) == (2, 1, 1)
        assert after.cpu_seconds >= before.cpu_seconds

    def test_a_delay_holds_each_answer_and_not_the_others(self, server, buckets):
        # Given a delay of 60 ms and 20 connections
        server.config(delay_ms=60)
        host, port = server.url.rpartition("/")[2].split(":")
        open_ones = [socket.create_connection((host, int(port)), timeout=5) for _ in range(20)]

        # When all ask at the same time
        began = time.monotonic()
        for connection in open_ones:
            connection.sendall(f"HEAD /{buckets[0]} HTTP/1.1\r\n\r\n".encode())
        for connection in open_ones:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            connection.close()

        # Then they wait together, not one after the other
        assert 0.06 <= time.monotonic() - began < 20 * 0.06

    def test_failures_have_no_effect_or_lose_their_answer(self, server, buckets):
        # Given a server that fails every request
        server.config(fail_percent=100)
        refused, lost = [], []
        for number in range(60):
            try:
                answer = conversation(server, put(f"/{buckets[0]}/{number}", b"x"))
                assert answer.startswith(b"HTTP/1.1 503")
                assert b"SlowDown" in answer
                refused.append(number)
            except ConnectionError:
                lost.append(number)

        # Then what was refused is not there, and what was lost is
        server.config(fail_percent=0)
        there = {item["Key"] for item in s3_client(server).list_objects_v2(Bucket=buckets[0])["Contents"]}
        assert there == {str(number) for number in lost}
        assert len(refused) > 10
        assert len(lost) > 10

    def test_gcs_refusals_speak_json(self, server, buckets):
        server.config(fail_percent=100)
        answers = []
        for _ in range(20):
            try:
                answers.append(conversation(server, f"GET /storage/v1/b/{buckets[0]}/o HTTP/1.1\r\n\r\n".encode()))
            except ConnectionError:
                continue
        assert answers
        assert all(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == 503 for answer in answers)


class TestWire:
    def test_requests_in_one_piece_are_answered_in_order(self, server, buckets):
        path = f"/{buckets[0]}/k"
        stream = put(path, b"first") + f"GET {path} HTTP/1.1\r\n\r\n".encode() + put(path, b"second")
        stream += f"GET {path} HTTP/1.1\r\n\r\n".encode() * 2
        answer = conversation(server, stream)
        assert answer.count(b"HTTP/1.1 200 OK") == 5
        assert re.findall(rb"\r\n\r\n(first|second)", answer) == [b"first", b"second", b"second"]

    def test_requests_may_come_byte_by_byte(self, server, buckets):
        stream = put(f"/{buckets[0]}/slow", b"drop by drop") + f"GET /{buckets[0]}/slow HTTP/1.1\r\n\r\n".encode()
        answer = conversation(server, *(stream[at : at + 1] for at in range(len(stream))), pause=0.0005)
        assert answer.endswith(b"drop by drop")

    @pytest.mark.parametrize("step", [1, 7, 100_000])
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_aws_chunks_are_taken_apart(self, server, buckets, step, wrapped):
        # Given a body in AWS's signed chunks with a checksum behind it, perhaps inside HTTP's own chunks
        data = random.Random(1).randbytes(300)
        chunks = b"".join(
            b"%x;chunk-signature=%064x\r\n%b\r\n" % (len(piece), 0, piece) for piece in (data[:100], data[100:], b"") if piece
        )
        chunks += b"0;chunk-signature=%064x\r\nx-amz-checksum-crc32c:%b\r\n\r\n" % (0, crc32c(data).encode())
        headers = [
            "Content-Encoding: aws-chunked",
            "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            f"x-amz-decoded-content-length: {len(data)}",
        ]
        if wrapped:
            chunks = b"".join(b"%X\r\n%b\r\n" % (len(piece), piece) for piece in (chunks[:50], chunks[50:])) + b"0\r\n\r\n"
            headers.append("Transfer-Encoding: chunked")

        # When it comes in pieces
        stream = put(f"/{buckets[0]}/chunks", chunks, *headers) + f"GET /{buckets[0]}/chunks HTTP/1.1\r\n\r\n".encode()
        answer = conversation(server, *(stream[at : at + step] for at in range(0, len(stream), step)))

        # Then the bytes are stored without their wrapping, and the framing is not taken for their encoding
        assert answer.endswith(data)
        assert b"aws-chunked" not in answer
        assert answer.count(crc32c(data).encode()) >= 1

    def test_a_wrong_checksum_behind_the_chunks_is_noticed(self, server, buckets):
        chunks = b"4\r\ndata\r\n0\r\nx-amz-checksum-crc32c:AAAAAA==\r\n\r\n"
        answer = conversation(
            server, put(f"/{buckets[0]}/bad", chunks, "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        )
        assert b"BadDigest" in answer

    def test_whoever_asks_is_told_to_go_on(self, server, buckets):
        head, _, body = put(f"/{buckets[0]}/k", b"waited for", "Expect: 100-continue").partition(b"\r\n\r\n")
        answer = conversation(server, head + b"\r\n\r\n", body, pause=0.05)
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")

    @pytest.mark.parametrize(
        "nonsense",
        [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET\r\n\r\n", b"PUT /b/k HTTP/1.1\r\nContent-Length: -4\r\n\r\n", b"a" * 70_000],
    )
    def test_nonsense_is_refused_and_hurts_nobody(self, server, nonsense):
        assert conversation(server, nonsense).startswith(b"HTTP/1.1 400")
        assert server.stats().requests >= 0

    def test_two_thousand_connections(self, server, buckets):
        host, port = server.url.rpartition("/")[2].split(":")
        open_ones = [socket.create_connection((host, int(port)), timeout=10) for _ in range(2000)]
        for number, connection in enumerate(open_ones):
            connection.sendall(put(f"/{buckets[0]}/{number}", b"x" * number))
        for connection in open_ones:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            connection.close()
        assert server.drop(buckets[0]) == 2000


def secured(server: BenchServer, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    host, _, port = server.url.rpartition("/")[2].partition(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    return contexts(server.ca).wrap_socket(connection, server_hostname=host, session=session)


@functools.cache
def contexts(ca: Path | None) -> ssl.SSLContext:
    """A session can only be resumed with the context it was made with."""
    return ssl.create_default_context(cafile=ca)


def slowly(server: BenchServer, path: str) -> bytes:
    """What the server answers to a reader that takes little at a time."""
    answer = b""
    with secured(server) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        time.sleep(0.2)
        while more := connection.recv(50_000):
            answer += more
    return answer


class TestTls:
    def test_clients_trust_it_through_its_certificate(self):
        # Given a server with TLS
        try:
            with bench_server(tls=True) as server:
                # When boto3 uses it, with a body of many records
                data, s3 = random.Random(8).randbytes(3 * MIB), s3_client(server)
                s3.create_bucket(Bucket="b")
                s3.put_object(Bucket="b", Key="k", Body=data)

                # Then the bytes come back, and those who do not know the certificate stay away
                assert s3.get_object(Bucket="b", Key="k")["Body"].read() == data
                with pytest.raises(urllib.error.URLError) as refused:
                    DIRECT.open(f"{server.url}/_stats", timeout=5)
                assert isinstance(refused.value.reason, ssl.SSLCertVerificationError)

                # And a reader that lets the server wait gets every byte of a body that no socket's buffer holds
                assert slowly(server, "/b/k").endswith(data)
                # And a session is resumed, and both are counted
                before = server.stats()
                with secured(server) as first:
                    first.sendall(b"HEAD /b/k HTTP/1.1\r\n\r\n")
                    assert first.recv(1000).startswith(b"HTTP/1.1 200")
                    session = first.session
                with secured(server, session) as second:
                    assert second.session_reused
                    assert (second.cipher() or ("none",))[0] == "TLS_AES_128_GCM_SHA256"
                after = server.stats()
                assert (after.handshakes - before.handshakes, after.resumed - before.resumed) == (3, 1)
        except ServerMissing as error:
            missing(error.server, error.how)


class TestBuild:
    def test_it_is_built_once_for_the_same_sources(self, shared, monkeypatch):
        monkeypatch.setattr(build, "_compile", lambda *_: pytest.fail("compiled again"))
        assert build.build().path == build.build().path

    def test_without_openssl_it_says_that_it_has_no_tls(self, shared, monkeypatch, tmp_path: Path):
        monkeypatch.setattr(build, "_has_openssl", lambda _: False)
        program = build.build(cache=tmp_path)
        assert not program.tls
        done = subprocess.run([program.path, "--tls-cert", "c", "--tls-key", "k"], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "without OpenSSL" in done.stderr

    def test_a_fault_in_the_sources_is_shown(self, shared, tmp_path: Path):
        (tmp_path / "main.c").write_text("int main(void) { return nothing; }\n")
        with pytest.raises(RuntimeError, match="nothing"):
            build.build(tmp_path, tmp_path / "cache")
