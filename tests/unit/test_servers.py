"""The servers that the other tests stand on: they come back on the same port, and nothing outlives the tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import servers
from tests.child import LOOPBACK, PORTS, Server, ServerFailed, _claim_port
from tests.servers import ServerMissing, missing

ROOT = Path(__file__).resolve().parents[2]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def is_alive(pid: int) -> bool:
    """Not gone, and not a zombie that nobody has collected."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_killed_server_comes_back_where_it_was(redis_own: Server) -> None:
    # Given a server
    port, first = redis_own.port, redis_own.pid
    # When it is killed and started again
    redis_own.kill()
    assert not listens(port)
    redis_own.start()
    # Then it is another process on the same port
    assert redis_own.port == port
    assert redis_own.pid != first
    assert listens(port)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")
def test_no_server_outlives_a_process_that_is_killed(tmp_path: Path) -> None:
    # Given a process that has started a server
    try:
        servers.redis_program()
    except ServerMissing as error:
        missing(error.server, error.how)
    program = (
        "import pathlib, sys, time; from tests import servers\n"
        "with servers.redis_server(pathlib.Path(sys.argv[1])) as server:\n"
        "    print(server.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        # When that process is killed
        parent.kill()
    # Then the server goes too
    end = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_alive(pid)


def test_a_server_that_does_not_start_says_what_it_printed(tmp_path: Path) -> None:
    # Given a program that complains and ends
    server = Server("sh", lambda _: ["/bin/sh", "-c", "echo no such luck; exit 3"], lambda _: False, tmp_path / "log")
    # When it is started
    with pytest.raises(ServerFailed, match="no such luck"):
        # Then what it said is shown
        server.start()
    assert server.pid is None
    server.close()


def test_a_server_that_never_answers_is_ended(tmp_path: Path) -> None:
    # Given a program that starts and does not answer
    server = Server("sleep", lambda _: ["sleep", "60"], lambda _: False, tmp_path / "log", patience=0.2)
    # When it is started
    with pytest.raises(ServerFailed, match="did not answer"):
        server.start()
    # Then it is not left behind
    assert server.pid is None
    server.close()


def test_two_do_not_get_the_same_port() -> None:
    # When many ports are claimed
    claims = [_claim_port() for _ in range(50)]
    # Then all differ and lie where no outgoing connection takes them
    ports = {port for port, _ in claims}
    assert len(ports) == 50
    assert all(port in PORTS for port in ports)
    for _, claim in claims:
        claim.close()


def test_a_missing_server_skips_on_a_laptop_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a laptop
    monkeypatch.delenv("CI", raising=False)
    # When a server is missing, then the test is skipped and says how to get it
    with pytest.raises(pytest.skip.Exception, match="brew it yourself"):
        missing("Tea", "brew it yourself")
    # And in CI it fails
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="brew it yourself"):
        missing("Tea", "brew it yourself")


def test_an_emulator_that_is_given_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an emulator that runs somewhere already
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "emulator:8085")
    # When one is asked for, then it is that one
    with servers.pubsub_emulator() as host:
        assert host == "emulator:8085"
    assert os.environ["PUBSUB_EMULATOR_HOST"] == "emulator:8085"
