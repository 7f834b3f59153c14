"""The embedded Redis: keeps what it is told, belongs to one run, and leaves nothing running behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis

from brigade.embedded import Pair, claim_directory, embedded_redis, locked, redis_program, state_directory
from common.errors import SettingsError
from common.location import Location

pytestmark = pytest.mark.usefixtures("redis_program")

S3, GS = Location.parse("s3://photos/2024"), Location.parse("gs://copy")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "state"


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)


async def ask(server, *command):
    client = Redis(unix_socket_path=server.address.removeprefix("unix://"), decode_responses=True)
    try:
        return await client.execute_command(*command)
    finally:
        await client.aclose()


async def test_what_was_written_is_there_at_the_next_start(directory):
    # Given a server that was told something and stopped
    with locked(directory) as lock:
        async with embedded_redis(directory, lock) as server:
            await ask(server, "SET", "a", "b")
            assert (await ask(server, "CONFIG", "GET", "maxmemory-policy")) == {"maxmemory-policy": "noeviction"}

        # When another is started in the same directory
        async with embedded_redis(directory, lock) as server:
            # Then it knows
            assert await ask(server, "GET", "a") == "b"


async def test_nobody_else_can_reach_it(directory):
    with locked(directory) as lock:
        async with embedded_redis(directory, lock) as server:
            assert permissions(directory / "redis.sock") == 0o700
            assert permissions(directory) == 0o700
            assert (await ask(server, "CONFIG", "GET", "port")) == {"port": "0"}


async def test_stopping_twice_and_stopping_in_order_leave_nothing_behind(directory):
    with locked(directory) as lock:
        async with embedded_redis(directory, lock) as server:
            await server.stop()
            await server.stop()
            assert await server.ended() == 0
    assert not (directory / "redis.sock").exists()


async def test_a_server_that_dies_is_noticed(directory):
    with locked(directory) as lock:
        async with embedded_redis(directory, lock) as server:
            pid = (await ask(server, "INFO", "server"))["process_id"]
            ended = asyncio.ensure_future(server.ended())
            os.kill(int(pid), signal.SIGKILL)
            assert await asyncio.wait_for(ended, 5) == -signal.SIGKILL


async def test_a_path_too_long_for_a_socket_does_no_harm(tmp_path):
    directory = tmp_path / ("long" * 30)
    with locked(directory) as lock:
        async with embedded_redis(directory, lock) as server:
            assert await ask(server, "PING")


async def test_a_server_that_does_not_start_says_why(directory):
    # Given a state that cannot be read
    directory.mkdir(parents=True)
    (directory / "appendonlydir").write_text("in the way")

    # When a server is started on it
    with locked(directory) as lock, pytest.raises(SettingsError) as raised:
        async with embedded_redis(directory, lock):
            pytest.fail("it started")

    # Then its own words are passed on, with what to do
    assert "does not start" in raised.value.faults[0]
    assert str(directory / "redis.log") in raised.value.faults[0]
    assert len(raised.value.faults) > 1


def test_a_second_run_is_told_who_has_the_state(directory):
    with locked(directory), pytest.raises(SettingsError, match=f"process {os.getpid()} on"), locked(directory):
        pytest.fail("both have it")


def test_a_lock_is_free_again_afterwards(directory):
    with locked(directory):
        pass
    with locked(directory) as lock:
        assert not lock.closed


def test_a_directory_that_cannot_be_made_is_a_fault(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingsError, match="name another with --state-dir"), locked(tmp_path / "file" / "state"):
        pytest.fail("it was made")


def test_the_server_ends_when_its_starter_is_killed_and_the_next_run_waits_for_it(directory):
    # Given a process that started a server and says its number
    code = f"""
import asyncio, pathlib
from brigade.embedded import Pair, claim_directory, embedded_redis, locked
async def main():
    directory = pathlib.Path({str(directory)!r})
    with locked(directory) as lock:
        async with embedded_redis(directory, lock) as server:
            print(server._process.pid, flush=True)
            await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        server = int(starter.stdout.readline())

        # When that process is killed
        starter.kill()
        starter.wait()

    # Then the lock is ours within moments, and the server is gone
    with locked(directory):
        deadline = time.monotonic() + 5
        while Path(f"/proc/{server}").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not Path(f"/proc/{server}").exists()


def test_a_lock_file_with_nonsense_still_keeps_others_out(directory):
    with locked(directory):
        (directory / "lock").write_text("nonsense")
        with pytest.raises(SettingsError, match="process unknown"), locked(directory):
            pytest.fail("both have it")


def test_the_lock_says_who_and_since_when(directory):
    with locked(directory):
        said = json.loads((directory / "lock").read_text())
    assert said["pid"] == os.getpid()
    assert said["since"].endswith("+00:00")


def test_each_pair_has_a_state_of_its_own(tmp_path):
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    names = {
        state_directory(environ, Pair(S3, GS)),
        state_directory(environ, Pair(GS, S3)),
        state_directory(environ, Pair(S3, GS, "http://other")),
        state_directory(environ, Pair(S3, GS, None, "http://other")),
        state_directory(environ, Pair(Location.parse("s3://photos-2024"), GS)),
        state_directory({"HOME": str(tmp_path)}, Pair(S3, GS)),
    }
    assert len(names) == 6
    assert state_directory(environ, Pair(S3, GS)) == state_directory(environ, Pair(S3, GS))
    assert state_directory({"HOME": "/home/u"}, Pair(S3, GS)).is_relative_to("/home/u/.local/state/bucketbrigade")
    assert state_directory({"XDG_STATE_HOME": "not/absolute", "HOME": "/home/u"}, Pair(S3, GS)).is_relative_to(
        "/home/u/.local/state"
    )


def test_the_state_of_one_pair_is_not_believed_of_another(directory):
    # Given a directory with the state of a pair
    with locked(directory):
        claim_directory(directory, Pair(S3, GS))
        claim_directory(directory, Pair(S3, GS))

        # When it is to be used for the same bucket at another service
        with pytest.raises(SettingsError, match="s3://photos/2024/ -> gs://copy"):
            claim_directory(directory, Pair(S3, GS, destination_endpoint="http://emulator"))


def test_without_any_program_the_fault_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match="apt-get install redis-server, or pip install"):
        redis_program()


def test_a_program_on_the_path_goes_first(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}" if name == "valkey-server" else None)
    assert redis_program() == "/bin/valkey-server"
