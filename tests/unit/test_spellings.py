"""What people write for a location, and what they meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from brigade import sync
from common.errors import SettingsError
from common.location import Location

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("gs:bucket", "gs://bucket"),
        ("s3:/a", "s3://a"),
        ("s3a://bucket/x", "s3://bucket/x"),
        ("gcs://bucket/x", "gs://bucket/x"),
        ("gdrive:1AbC", "gdrive://1AbC"),
        ("drive://1AbC/folder", "gdrive://1AbC/folder"),
        ("file:/srv/data", "file:///srv/data"),
        ("https://s3.amazonaws.com/bucket/a/b?X-Amz-Signature=0123", "s3://bucket/a/b"),
        ("https://s3.eu-west-1.amazonaws.com/bucket", "s3://bucket"),
        ("https://bucket.s3.eu-west-1.amazonaws.com/a%20b", "s3://bucket/a b"),
        ("https://eu-west-1.console.aws.amazon.com/s3/buckets/mine?tab=objects", "s3://mine"),
        ("https://storage.googleapis.com/bucket/a", "gs://bucket/a"),
        ("https://console.cloud.google.com/storage/browser/bucket;tab=objects", "gs://bucket"),
        ("https://drive.google.com/drive/folders/1AbC_d-E?usp=sharing", "gdrive://1AbC_d-E"),
        ("https://drive.google.com/drive/u/0/folders/1AbC_d-E", "gdrive://1AbC_d-E"),
        ("https://drive.google.com/drive/my-drive", "gdrive://root"),
        ("s3://bucket ", "s3://bucket"),
    ],
)
def test_another_spelling_is_answered_with_the_right_one(written: str, meant: str) -> None:
    with pytest.raises(ValueError, match="did you mean") as caught:
        Location.parse(written)
    assert f"did you mean {meant}?" in str(caught.value)
    assert "Signature" not in str(caught.value)
    Location.parse(meant)


@pytest.mark.parametrize("written", ["S3://Bucket/x", "s3://Bucket/x"])
def test_a_scheme_may_be_written_in_capitals(written: str) -> None:
    assert str(Location.parse(written)) == "s3://Bucket/x/"


def test_credentials_in_an_address_are_not_repeated() -> None:
    with pytest.raises(ValueError, match="scheme") as caught:
        Location.parse("https://user:hush@example.org/x")
    assert "hush" not in str(caught.value)


def refused(source: str, destination: str) -> str:
    with pytest.raises(SettingsError) as caught:
        sync._route(source, destination, {}, {})
    return str(caught.value)


def test_a_directory_that_is_none_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a directory with a file
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "gs:odd").mkdir()
    # Then each mistake is answered with the way out that fits
    assert "did you mean gs://bucket?" in refused("gs:bucket", ".")
    assert f"{tmp_path}/file is a file, and directories are copied: write {tmp_path}" in refused("file", ".")
    assert "check its name" in refused("missing", ".")
    assert f"mkdir -p '{tmp_path}/not here'" in refused(".", "not here")
    assert "within quotes: write /" in refused("~/photos", ".")
    # And a directory that looks like a location is a directory
    assert sync._route("gs:odd", ".", {}, {})["source"] == f"file://{tmp_path}/gs:odd/"


def test_options_of_an_end_are_those_of_the_settings() -> None:
    assert sync._options("--source-option", ["region=eu-central-1", "anonymous=true"]) == {
        "region": "eu-central-1",
        "anonymous": True,
    }
    for wrong in ("nonsense=1", "region", "tags=a"):
        with pytest.raises(SettingsError, match="NAME=VALUE"):
            sync._options("--source-option", [wrong])


def test_compat_is_said_of_each_end_that_is_s3() -> None:
    s3, directory = Location.parse("s3://bucket"), Location.parse("file:///srv")
    route: dict[str, object] = {"destination_options": {"compat": "aws"}}
    sync._compatible(route, (s3, s3), "basic")
    assert route == {"source_options": {"compat": "basic"}, "destination_options": {"compat": "aws"}}
    with pytest.raises(SettingsError, match="neither end is"):
        sync._compatible({}, (directory, directory), "basic")
