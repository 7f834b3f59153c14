"""The command as a newcomer meets it: help that says what to do, faults without a traceback, and exit codes to rely on."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest

from brigade.__main__ import brigade as group

SECRET = "hunter2-do-not-print"
COMPLETE = {
    "AWS_S3_BUCKET": "photos",
    "GCP_BUCKET_NAME": "photos-copy",
    "GCP_PROJECT_ID": "project",
    "REDIS_ADDRESS": "127.0.0.1:1",
    "REDIS_PASSWORD": SECRET,
    "SYSTEM_ADMIN_USERNAME": "admin",
    "SYSTEM_ADMIN_PASSWORD": SECRET,
}


def commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    below = command.commands.items() if isinstance(command, click.Group) else ()
    return [(path, command), *(found for name, each in below for found in commands(each, (*path, name)))]


@pytest.mark.parametrize(
    ("path", "command"), commands(group), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_explains_itself(path, command, brigade):
    # When help is asked for
    answer = brigade(*path, "--help")

    # Then there is a description, an explanation of every option, and an example where there is something to run
    assert answer.code == 0
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))
    assert isinstance(command, click.Group) or f"brigade {' '.join(path)}" in answer.out.partition("Examples")[2]


def test_the_version_is_that_of_the_distribution(brigade):
    assert brigade("--version").out.startswith("brigade, version ")


def test_check_config_shows_settings_with_their_origin_and_no_secret(brigade, tmp_path):
    # Given settings from a file, the environment and defaults
    (tmp_path / "brigade.toml").write_text("[worker]\nslots = 5\n")

    # When they are shown
    answer = brigade("check-config", **COMPLETE, BRIGADE_SWEEP_SECONDS="60")

    # Then each is there with its origin, and secrets are masked
    assert answer.code == 0
    assert "slots = 5  # brigade.toml: worker.slots" in answer.out
    assert "sweep_seconds = 60.0  # BRIGADE_SWEEP_SECONDS" in answer.out
    assert "attempts = 5  # default" in answer.out
    assert 'source = "s3://photos"' in answer.out
    assert 'password = "**********"  # SYSTEM_ADMIN_PASSWORD' in answer.out
    assert SECRET not in answer.out + answer.err


def test_check_config_as_json(brigade):
    answer = brigade("check-config", "--for", "work", "--json", **COMPLETE)
    shown = json.loads(answer.out)
    assert shown["api"] is None
    assert shown["routes"][0]["destination"] == "gs://photos-copy"
    assert SECRET not in answer.out


def test_all_faults_are_said_one_per_line_with_exit_code_2(brigade):
    # When nothing is set
    answer = brigade("check-config")

    # Then every fault is a line, and there is no traceback
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 5
    assert all(line.startswith("brigade: ") for line in answer.err.splitlines())
    assert answer.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("publish",),
        ("work",),
        ("errors", "list"),
        ("errors", "redrive"),
        ("cache", "show"),
        ("cache", "delete", "--yes"),
        ("jobs", "list"),
    ],
)
def test_every_command_refuses_settings_that_cannot_work(arguments, brigade):
    answer = brigade(*arguments)
    assert answer.code == 2
    assert "REDIS_ADDRESS is missing" in answer.err or "GCP_PROJECT_ID is missing" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("sync", "ftp://x", "gs://y"), "SOURCE: unknown scheme 'ftp'"),
        (("sync", "s3://x", "gs://key:secret@y"), "DESTINATION: a location holds no credentials"),
        (("sync", "memory://x", "gs://y"), "SOURCE: memory:// lives in one process"),
        (("sync", "s3://x", "s3://x/copy"), "lies inside its own source"),
        (("sync", "no-such-directory", "s3://x"), "/no-such-directory: check its name, or mount what belongs there"),
        (("sync", "s3://x", "gs://y", "--source-endpoint", "nonsense"), "source_options.endpoint: write a URL"),
        (("sync", "s3://x", "gs://y", "--state-dir", "/dev/null/state"), "name another with --state-dir"),
    ],
)
def test_a_sync_that_cannot_start_says_why(arguments, part, brigade):
    answer = brigade(*arguments)
    assert answer.code == 2
    assert part in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("work", "--processes", "0"),
        ("sync", "only-one"),
        ("check-config", "--for", "x"),
        ("errors", "redrive", "--category", "forbiden"),
    ],
)
def test_arguments_that_do_not_exist_are_refused_by_name(arguments, brigade):
    answer = brigade(*arguments)
    assert answer.code == 2
    assert "Error: " in answer.err


def test_the_options_before_the_command_go_before_the_environment(brigade, tmp_path):
    # Given a file elsewhere, and a log level in the environment
    config = tmp_path / "elsewhere.toml"
    config.write_text("[worker]\nslots = 7\n")

    # When both are given as options
    answer = brigade(
        "--config", str(config), "--log-level", "error", "check-config", "--json", **COMPLETE, BRIGADE_LOG_LEVEL="debug"
    )

    # Then the options count
    shown = json.loads(answer.out)
    assert (shown["worker"]["slots"], shown["log"]["level"]) == (7, "ERROR")


def test_it_runs_as_a_module_too():
    answer = subprocess.run([sys.executable, "-m", "brigade", "--version"], capture_output=True, text=True, check=True)
    assert "version" in answer.stdout


def test_a_reader_that_has_had_enough_is_no_error():
    # Given a reader that closes after the first line
    command = f"{sys.executable} -m brigade --help | head -c 5"

    # When it reads a longer answer
    answer = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)

    # Then nobody complains
    assert answer.stderr == ""
