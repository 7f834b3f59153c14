"""Credentials that the machine should have and does not give: an error that names what to check, never botocore's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.errors import Unauthenticated
from common.transport.aws_machine import AmbientCredentials, Machine

if TYPE_CHECKING:
    from pathlib import Path

BROKEN = {
    "no such profile": ("nosuch", ""),
    "half a key": ("half", "[profile half]\naws_access_key_id = AKIA\n"),
    "the program that makes them fails": ("failing", "[profile failing]\ncredential_process = /bin/false\n"),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_broken_ambient_credentials_are_named_with_advice(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a machine whose AWS configuration cannot work
    profile, text = BROKEN[case]
    config = tmp_path / "config"
    config.write_text(text, encoding="utf-8")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_PROFILE", profile)
    # When credentials are asked for, then the error is one of ours
    with pytest.raises(Unauthenticated, match="AWS"):
        await AmbientCredentials(Machine()).current()
