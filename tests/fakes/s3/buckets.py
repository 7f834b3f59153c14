"""Buckets: made, looked at, configured, deleted. Policies, ACLs and life cycles are not here: they answer 501.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.http import Response
from tests.fakes.s3.errors import S3Error, malformed_xml
from tests.fakes.s3.objects import timestamp
from tests.fakes.s3.payload import receive
from tests.fakes.s3.store import Versioning
from tests.fakes.s3.xml import XML, document, parse

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from tests.fakes.s3.call import Call
    from tests.fakes.s3.signatures import Admission
    from tests.fakes.s3.store import Store
    from tests.fakes.s3.xml import Value

_DEFAULT_REGION = "us-east-1"


async def create(store: Store, call: Call, admission: Admission | None, *, new: bool) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html"""
    payload = await receive(call, admission, new=new)
    home = call.region or _DEFAULT_REGION
    wanted = home
    if payload.data:
        wanted = _parsed(payload.data, "CreateBucketConfiguration").findtext("LocationConstraint") or _DEFAULT_REGION
    if wanted != home and call.region is not None:
        text = f"The {wanted} location constraint is incompatible for the region specific endpoint this request was sent to."
        raise S3Error(400, "IllegalLocationConstraintException", text)
    store.create_bucket(call.bucket, wanted)
    return Response(200, [("Location", f"/{call.bucket}")])


def all_of(store: Store) -> Response:
    buckets: list[Value] = [
        {"Name": bucket.name, "CreationDate": timestamp(bucket.created)} for _, bucket in sorted(store.buckets.items())
    ]
    return Response(200, [XML], document("ListAllMyBucketsResult", {"Buckets": {"Bucket": buckets}}))


async def configure(store: Store, call: Call, admission: Admission | None, *, new: bool) -> Response:
    payload = await receive(call, admission, new=new)
    bucket = store.bucket(call.bucket)
    match call.operation:
        case "PutBucketVersioning":
            status = _parsed(payload.data, "VersioningConfiguration").findtext("Status")
            if status not in {"Enabled", "Suspended"}:
                raise malformed_xml()
            bucket.versioning = Versioning(status)
        case "PutBucketRequestPayment":
            bucket.requester_pays = _parsed(payload.data, "RequestPaymentConfiguration").findtext("Payer") == "Requester"
        case _:
            rule = _parsed(payload.data, "ServerSideEncryptionConfiguration").find(".//ApplyServerSideEncryptionByDefault")
            if rule is None:
                raise malformed_xml()
            bucket.encryption = (rule.findtext("SSEAlgorithm") or "AES256", rule.findtext("KMSMasterKeyID"))
    return Response(200)


def configuration(store: Store, call: Call) -> Response:
    bucket = store.bucket(call.bucket)
    match call.operation:
        case "GetBucketLocation":
            region = "" if bucket.region == _DEFAULT_REGION else bucket.region
            return Response(200, [XML], document("LocationConstraint", {}).replace(b"></Loc", f">{region}</Loc".encode()))
        case "GetBucketVersioning":
            return Response(200, [XML], document("VersioningConfiguration", {"Status": bucket.versioning or None}))
        case "GetBucketRequestPayment":
            payer = "Requester" if bucket.requester_pays else "BucketOwner"
            return Response(200, [XML], document("RequestPaymentConfiguration", {"Payer": payer}))
        case "GetBucketEncryption":
            algorithm, key = bucket.encryption
            applied: dict[str, Value] = {"SSEAlgorithm": algorithm, "KMSMasterKeyID": key}
            rule: dict[str, Value] = {"Rule": {"ApplyServerSideEncryptionByDefault": applied, "BucketKeyEnabled": False}}
            return Response(200, [XML], document("ServerSideEncryptionConfiguration", rule))
    return Response(200, [("x-amz-bucket-region", bucket.region)])


def _parsed(data: bytes, name: str) -> Element:
    try:
        return parse(data, name)
    except ValueError:
        raise malformed_xml() from None
