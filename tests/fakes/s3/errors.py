"""The errors of S3, with the codes, statuses and words that the real service uses: clients and people read all three.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.http import Response
from tests.fakes.s3.xml import XML, document

if TYPE_CHECKING:
    from collections.abc import Sequence


class S3Error(Exception):
    """An answer that is not a success. `elements` stand beside code and message, in the order in which they are given."""

    def __init__(self, status: int, code: str, message: str, headers: Sequence[tuple[str, str]] = (), /, **elements: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = list(headers)
        self.elements = elements

    def response(self, request_id: str, *, silent: bool = False) -> Response:
        """`silent`: to a HEAD, which has no body that could say more than the status."""
        if silent or self.status == 304:
            return Response(self.status, self.headers)
        return Response(self.status, [XML, *self.headers], self.body(request_id))

    def body(self, request_id: str) -> bytes:
        said = {"Code": self.code, "Message": self.message, **self.elements, "RequestId": request_id, "HostId": "here"}
        return document("Error", said, namespace=False)


def no_key(key: str, **elements: str) -> S3Error:
    return S3Error(404, "NoSuchKey", "The specified key does not exist.", Key=key, **elements)


def no_version(key: str, version_id: str) -> S3Error:
    return S3Error(404, "NoSuchVersion", "The specified version does not exist.", Key=key, VersionId=version_id)


def no_bucket(name: str) -> S3Error:
    return S3Error(404, "NoSuchBucket", "The specified bucket does not exist", BucketName=name)


def no_upload(upload_id: str) -> S3Error:
    text = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    return S3Error(404, "NoSuchUpload", text, UploadId=upload_id)


def precondition_failed(condition: str) -> S3Error:
    text = "At least one of the pre-conditions you specified did not hold"
    return S3Error(412, "PreconditionFailed", text, Condition=condition)


def conflict(condition: str, key: str) -> S3Error:
    text = "The conditional request cannot succeed due to a conflicting operation against this resource."
    return S3Error(409, "ConditionalRequestConflict", text, Condition=condition, Key=key)


def denied(message: str = "Access Denied", **elements: str) -> S3Error:
    return S3Error(403, "AccessDenied", message, **elements)


def invalid_argument(message: str, name: str = "", value: str = "") -> S3Error:
    elements = {"ArgumentName": name, "ArgumentValue": value} if name else {}
    return S3Error(400, "InvalidArgument", message, **elements)


def invalid_request(message: str) -> S3Error:
    return S3Error(400, "InvalidRequest", message)


def not_implemented(header: str = "") -> S3Error:
    text = "A header or query you provided implies functionality that is not implemented"
    return S3Error(501, "NotImplemented", text, **({"Header": header} if header else {}))


def malformed_xml() -> S3Error:
    text = "The XML you provided was not well-formed or did not validate against our published schema"
    return S3Error(400, "MalformedXML", text)


def too_large(size: int, most: int) -> S3Error:
    text = "Your proposed upload exceeds the maximum allowed size"
    return S3Error(400, "EntityTooLarge", text, ProposedSize=str(size), MaxSizeAllowed=str(most))
