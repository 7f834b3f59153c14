"""Where S3 is and who we are, as botocore finds it on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.errors import SettingsError
from common.transport.aws import Credentials
from common.transport.aws_machine import AmbientCredentials, Machine, Place

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A machine without any AWS settings but those that a test writes."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return Machine()


@pytest.mark.parametrize(
    ("bucket", "region", "addressing", "expected"),
    [
        ("photos", None, "auto", "https://photos.s3.us-east-1.amazonaws.com"),
        ("photos", "eu-central-1", "auto", "https://photos.s3.eu-central-1.amazonaws.com"),
        ("photos", "eu-central-1", "path", "https://s3.eu-central-1.amazonaws.com/photos"),
        ("my_bucket", "us-east-1", "auto", "https://s3.us-east-1.amazonaws.com/my_bucket"),
        ("MyBucket", "us-east-1", "auto", "https://s3.us-east-1.amazonaws.com/MyBucket"),
        ("with.dots", "eu-west-1", "auto", "https://s3.eu-west-1.amazonaws.com/with.dots"),
        ("photos", "cn-north-1", "auto", "https://photos.s3.cn-north-1.amazonaws.com.cn"),
        ("photos", "us-gov-west-1", "auto", "https://photos.s3.us-gov-west-1.amazonaws.com"),
    ],
)
def test_a_bucket_is_where_botocore_says(
    machine: Machine, bucket: str, region: str | None, addressing: str, expected: str
) -> None:
    place = machine.place(bucket, region, addressing)
    assert (place.origin + place.root, place.at_aws) == (expected, True)
    assert place.region == (region or "us-east-1")


def test_region_and_endpoint_come_from_the_profile(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Given a profile with a region, and with an endpoint for S3 of its own
    text = "[profile mine]\nregion = ap-southeast-2\nservices = here\n[services here]\ns3 =\n  endpoint_url = https://minio.example:9000\n"
    (tmp_path / "config").write_text(text)
    monkeypatch.setenv("AWS_PROFILE", "mine")
    # Then both count, and the endpoint is not taken for Amazon's
    assert machine.place("photos", None, "auto") == Place("https://minio.example:9000", "/photos", "ap-southeast-2", at_aws=False)


def test_a_profile_that_is_not_there_is_a_fault_of_the_settings(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    with pytest.raises(SettingsError, match=r"nosuch.*AWS_PROFILE"):
        machine.place("photos", None, "auto")


async def test_credentials_that_were_replaced_are_read_again_when_they_are_refused(machine: Machine, tmp_path: Path) -> None:
    # Given credentials in the shared file
    now = [0.0]
    text = "[default]\naws_access_key_id = {}\naws_secret_access_key = s3cret\n"
    (tmp_path / "credentials").write_text(text.format("AKIDOLD"))
    source = AmbientCredentials(machine, clock=lambda: now[0])
    old = await source.current()
    assert old.access_key_id == "AKIDOLD"
    # When they are refused and the file is as it was, then there are no others
    assert await source.renewed(old) is None
    # When somebody has replaced them, then they are read again, though not more often than every few seconds
    (tmp_path / "credentials").write_text(text.format("AKIDNEW"))
    assert await source.renewed(old) is None
    now[0] += 60
    assert await source.renewed(old) == Credentials("AKIDNEW", "s3cret")
    assert await source.current() == Credentials("AKIDNEW", "s3cret")
    # And whoever was refused with the old ones at the same time gets them, too
    assert await source.renewed(old) == Credentials("AKIDNEW", "s3cret")
