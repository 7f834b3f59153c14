"""Runs the command in this process, as its entry point does, and puts logging back afterwards."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

import pytest

from brigade.__main__ import main
from common import telemetry
from tests import servers


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def brigade(monkeypatch, capsys, tmp_path):
    """`brigade("check-config", REDIS_ADDRESS="…")`: arguments, and an environment that holds nothing else of ours."""
    root, output = logging.getLogger(), telemetry._output
    before, threshold, sink = list(root.handlers), output.threshold, output._sink
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **environ: str) -> Answer:
        with monkeypatch.context() as patch:
            patch.setattr("os.environ", {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **environ})
            patch.setattr(sys, "argv", ["brigade", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        said = capsys.readouterr()
        return Answer(int(ended.value.code or 0), said.out, said.err)

    yield run
    logging.captureWarnings(capture=False)
    root.handlers[:] = before
    output.threshold, output._sink = threshold, sink


@pytest.fixture
def redis_program():
    """For commands that start a Redis of their own: without a program the test is skipped, and fails in CI."""
    try:
        return servers.redis_program()
    except servers.ServerMissing as error:
        servers.missing(error.server, error.how)
