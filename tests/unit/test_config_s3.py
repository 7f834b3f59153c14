"""The S3 settings of a route: what they become, and what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.config import StoreOptions
from common.errors import SettingsError
from common.storage.s3_dialect import AWS, BASIC, UNCERTAIN, Dialect, dialect
from tests.unit.configuration import route

if TYPE_CHECKING:
    from pathlib import Path


def test_how_objects_are_stored(tmp_path: Path) -> None:
    # Given every setting of an S3 destination
    # When it is read
    read = route(
        tmp_path,
        '[route.source_options]\nrequester_pays = true\n[route.destination_options]\ncompat = "basic"\n'
        'storage_class = "STANDARD_IA"\nencryption = "aws:kms"\nkms_key_id = "alias/photos"\n'
        'tags = { team = "photos", "cost center" = "4711" }\n',
        destination="s3://copy",
    )
    # Then it is there
    options = read.destination_options
    assert (options.compat, options.storage_class, options.encryption) == ("basic", "STANDARD_IA", "aws:kms")
    assert (options.kms_key_id, options.tags) == ("alias/photos", {"team": "photos", "cost center": "4711"})
    assert read.source_options.requester_pays


@pytest.mark.parametrize(
    ("tables", "part"),
    [
        ("source_options.tags = { a = 'b' }", "source_options.tags says how objects are stored, which a source does not"),
        ("source_options.storage_class = 'GLACIER'", "write destination_options.storage_class"),
        ("destination_options.kms_key_id = 'k'", 'set encryption = "aws:kms", or take it out'),
        ("destination_options.encryption = 'aes'", "destination_options.encryption is 'aes': write one of 'AES256' or 'aws:kms'"),
        ("destination_options.storage_class = 'cold'", "as S3 has it: STANDARD_IA"),
        ("destination_options.compat = 'minio'", "write one of 'auto', 'aws' or 'basic'"),
        ("destination_options.tags = { 'aws:x' = 'b' }", "'aws:x' is no tag's name"),
        ("destination_options.tags = { a = '" + "v" * 257 + "' }", "the value of 'a' has 257 characters: S3 keeps 256"),
        (
            f"destination_options.tags = {{ {', '.join(f'k{n} = 1' for n in range(11))} }}".replace("= 1", "= 'v'"),
            "has 11 tags: S3 keeps 10",
        ),
        ("destination_options.tags = { a = 1 }", "destination_options.tags"),
        ("destination_options.requester_pays = 'perhaps'", "write true or false"),
    ],
)
def test_a_fault_says_what_to_write(tmp_path: Path, tables: str, part: str) -> None:
    with pytest.raises(SettingsError) as raised:
        route(tmp_path, tables, destination="s3://copy")
    assert any(part in fault for fault in raised.value.faults), raised.value.faults


@pytest.mark.parametrize("setting", ["compat = 'aws'", "requester_pays = true", "encryption = 'AES256'", "tags = { a = 'b' }"])
def test_they_are_for_s3_alone(tmp_path: Path, setting: str) -> None:
    with pytest.raises(SettingsError, match="is for S3, and the destination is gs://copy: take it out"):
        route(tmp_path, f"destination_options.{setting}", destination="gs://copy")


@pytest.mark.parametrize(
    ("compat", "at_aws", "expected"),
    [
        ("auto", True, AWS),
        ("auto", False, UNCERTAIN),
        ("aws", False, AWS),
        ("basic", True, BASIC),
        ("basic", False, BASIC),
    ],
)
def test_who_is_believed(compat: str, at_aws: bool, expected: Dialect) -> None:
    options = StoreOptions.model_validate({"compat": compat})
    assert dialect(options, at_aws=at_aws) == expected
