"""The filler of the demo profile: a source bucket with some 250 objects, names that break careless programs among them.

Runs inside the demo image (`python -m tests.compose.fill`) and is told by the same environment as publisher and workers where
the stand-ins are. Safe to run again: the same names get the same bytes.
"""

from __future__ import annotations

import json
import os
import random
import sys
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

from tests.nasty_names import NASTY, no_gcs_name

KIB = 1024
MIB = 1024 * KIB
ORDINARY = 180
LARGE = {"large/five.bin": 5 * MIB, "large/seventeen.bin": 17 * MIB}
MULTIPART = "large/in-parts.bin"


def connect(endpoint: str, **key: str):
    """An S3 client with path addressing, for stand-ins have no names for their buckets."""
    config = Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=20, retries={"max_attempts": 3})
    return boto3.client("s3", endpoint_url=endpoint, config=config, **key)


def objects() -> dict[str, bytes]:
    """Every object of the demo but the one in parts. The bytes depend on the name alone."""
    sizes = {f"ordinary/{number:04}.bin": 4 * KIB for number in range(ORDINARY)}
    sizes |= {f"empty/{number}": 0 for number in range(4)}
    sizes |= {name: 100 + len(name) for name in NASTY.values() if not no_gcs_name(name)}
    return {name: random.Random(name).randbytes(size) for name, size in (sizes | LARGE).items()}


def main() -> None:
    source, destination = os.environ["AWS_S3_BUCKET"], os.environ["GCP_BUCKET_NAME"]
    _create_destination(os.environ["STORAGE_EMULATOR_HOST"], destination)
    s3 = connect(os.environ["AWS_ENDPOINT_URL_S3"], region_name=os.environ["AWS_REGION"])
    s3.create_bucket(Bucket=source)
    everything = objects()
    for name, data in everything.items():
        s3.put_object(Bucket=source, Key=name, Body=data, ContentType="application/octet-stream", Metadata={"demo": "yes"})
    _put_in_parts(s3, source)
    sys.stdout.write(f"{len(everything) + 1} objects are in s3://{source}, waiting to go to gs://{destination}\n")


def _create_destination(endpoint: str, bucket: str) -> None:
    request = urllib.request.Request(
        f"{endpoint.rstrip('/')}/storage/v1/b?project=demo",
        data=json.dumps({"name": bucket}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(request, timeout=20).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:  # 409: it is there already
            raise


def _put_in_parts(s3, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=MULTIPART)["UploadId"]
    receipts = []
    for number, size in enumerate((5 * MIB, 5 * MIB, 3), start=1):
        data = random.Random(number).randbytes(size)
        part = s3.upload_part(Bucket=bucket, Key=MULTIPART, UploadId=upload, PartNumber=number, Body=data)
        receipts.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(Bucket=bucket, Key=MULTIPART, UploadId=upload, MultipartUpload={"Parts": receipts})


if __name__ == "__main__":
    main()
