"""The stand-in for Amazon S3: the REST API over HTTP, in memory, as strict as AWS documents it.

    async with S3Server(buckets=["demo"]) as server: ...     # in the event loop of the test
    with S3Server(buckets=["demo"]) as server: ...           # in a thread of its own

Beside the API it answers GET|POST|DELETE /_faults and GET|DELETE /_stats, unsigned, for tests that run it as a program.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.fakes.http import HttpServer, Response
from tests.fakes.http.control import NoPageError, control
from tests.fakes.s3 import buckets, checksums, reads
from tests.fakes.s3.call import understand
from tests.fakes.s3.conditions import ANY
from tests.fakes.s3.errors import S3Error, denied, not_implemented
from tests.fakes.s3.faults import Faults, Hands, meet
from tests.fakes.s3.fields import CLASSES, KEPT, Encryption, Fields
from tests.fakes.s3.listing import Listings
from tests.fakes.s3.multipart import Uploads
from tests.fakes.s3.objects import Objects
from tests.fakes.s3.signatures import Gate, Identity
from tests.fakes.s3.store import Content, Store, check_payer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Mapping, Sequence

    from tests.fakes.http import Request
    from tests.fakes.s3.call import Call
    from tests.fakes.s3.signatures import Admission
    from tests.fakes.s3.store import Blob, Bucket

ACCESS_KEY, SECRET_KEY = "AKIDTEST", "SECRETTEST"
REGION = "us-east-1"
_ON_BUCKETS = frozenset({"ListBuckets", "CreateBucket"})
_CONFIGURING = frozenset(
    {
        "DeleteBucket",
        "GetBucketEncryption",
        "GetBucketLocation",
        "GetBucketRequestPayment",
        "GetBucketVersioning",
        "HeadBucket",
        "PutBucketEncryption",
        "PutBucketRequestPayment",
        "PutBucketVersioning",
    }
)
_PUBLIC = frozenset({"GetObject", "HeadObject", "ListObjects", "ListObjectsV2", "HeadBucket"})


class S3Server(HttpServer):
    """`identities`: the keys it takes; ACCESS_KEY and SECRET_KEY if none are given. `new=False`: a server of some years ago,
    which ignores checksums other than Content-MD5 and conditions on writes, and knows no trailers. `kms_keys`: those that there
    are; None: any. `delay_ms`: the time that every request takes at least. `region`: the endpoint's, where its name says none.
    """

    def __init__(
        self,
        *,
        buckets: Sequence[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        identities: Sequence[Identity] = (Identity(ACCESS_KEY, SECRET_KEY),),
        region: str = REGION,
        new: bool = True,
        kms_keys: Collection[str] | None = None,
        delay_ms: float = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(host=host, port=port, tls=tls)
        self.region = region
        self.new = new
        self.delay_ms = delay_ms
        self.identities = {identity.access_key: identity for identity in identities}
        self.store = Store(clock, region)
        self.objects = Objects(self.store, new=new, keys=kms_keys)
        self.uploads = Uploads(self.store, self.objects, new=new)
        self.faults = Faults()
        self.fold: Callable[[str], str] = str
        """What the server makes of a key: SeaweedFS and file systems take several keys for one."""
        self.requests: Counter[str] = Counter()
        self._gate = Gate(self.identities, clock)
        self._listings = Listings(new=new)
        self._hands = Hands(self._perform, self._change, self._void)
        self._answered = 0
        for bucket in buckets:
            self.store.create_bucket(bucket)

    @property
    def writes(self) -> list[tuple[str, str, str]]:
        """(bucket, key, version id) of every object that was written, in order."""
        return self.store.writes

    def bucket(self, name: str) -> Bucket:
        """To be configured by a test: versioning, requester_pays, public, encryption, region."""
        return self.store.bucket(name)

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        storage_class: str = "STANDARD",
        checksum: str | None = None,
    ) -> Blob:
        """Write an object without going over the wire. `headers` as they travel, in lower case: content-type, ... `checksum`: the
        algorithm that the uploader chose; None: CRC64NVME, by S3 itself.
        """
        kept = dict(headers or {})
        assert kept.keys() <= set(KEPT)
        assert storage_class in CLASSES
        fields = Fields(kept, dict(metadata or {}), storage_class, Encryption(*self.store.bucket(bucket).encryption))
        content = Content(data, fields, checksums.of(checksum, data) if checksum else None)
        return self.store.put(bucket, key, content, ANY)

    def data(self, bucket: str, key: str) -> bytes:
        return self.store.get(bucket, key).data

    def blob(self, bucket: str, key: str) -> Blob:
        return self.store.get(bucket, key)

    def keys(self, bucket: str) -> list[str]:
        """Of what a listing shows."""
        home = self.store.bucket(bucket)
        return [key for key in home.sorted_keys() if home.current(key) is not None]

    async def handle(self, request: Request) -> Response:
        if request.path.startswith("/_"):
            return await self._control(request)
        self._answered += 1
        request_id = f"{self._answered:016X}"
        try:
            call = understand(request, request_id, self.region)
        except S3Error as error:
            return _stamped(error.response(request_id, silent=request.method == "HEAD"), request_id)
        self.requests[call.operation] += 1
        if self.delay_ms:
            await asyncio.sleep(self.delay_ms / 1000)
        fault = self.faults.take(call)
        response = await (self._perform(call) if fault is None else meet(fault, call, self._hands))
        if call.charged:
            response.headers.append(("x-amz-request-charged", "requester"))
        return _stamped(response, request_id)

    async def _perform(self, call: Call) -> Response:
        try:
            admission = self._admit(call)
            call.key = self.fold(call.key)
            return await self._operate(call, admission)
        except S3Error as error:
            return error.response(call.request_id, silent=call.silent)

    def _admit(self, call: Call) -> Admission | None:
        """Who asks, and whether he asks in the right region. The order is that of the service: signature, region, payer."""
        home = self.store.buckets.get(call.bucket)
        region = call.region or (REGION if home is None else home.region)
        admission = self._gate.admit(call, region)
        if home is None:
            if admission is None:
                raise denied()
            return None if call.operation in _ON_BUCKETS and admission is None else admission
        if admission is None and not (home.public and call.operation in _PUBLIC):
            raise denied()
        if home.region != region and call.operation != "GetBucketLocation":
            raise _elsewhere(home)
        if call.operation not in _CONFIGURING | _ON_BUCKETS:
            said = call.headers.get("x-amz-request-payer") or call.query.get("x-amz-request-payer")
            call.charged = check_payer(home, None if admission is None else said)
        return admission

    async def _operate(self, call: Call, admission: Admission | None) -> Response:
        objects, uploads, new = self.objects, self.uploads, self.new
        match call.operation:
            case "GetObject" | "HeadObject":
                return reads.read(self.store, call, new=new)
            case "GetObjectAttributes" if new:
                return reads.attributes(self.store, call)
            case "PutObject":
                return await objects.put(call, admission)
            case "CopyObject":
                return await objects.copy(call, admission)
            case "DeleteObject":
                return objects.delete(call)
            case "DeleteObjects":
                return await objects.delete_many(call, admission)
            case "GetObjectTagging":
                return objects.tags(call)
            case "PutObjectTagging" | "DeleteObjectTagging":
                return await objects.tag(call, admission)
            case "RestoreObject":
                return await objects.restore(call, admission)
            case "CreateMultipartUpload":
                return await uploads.begin(call, admission)
            case "UploadPart":
                return await uploads.part(call, admission)
            case "UploadPartCopy":
                return await uploads.copy_part(call, admission)
            case "CompleteMultipartUpload":
                return await uploads.complete(call, admission)
            case "AbortMultipartUpload":
                return uploads.abort(call)
            case "ListParts":
                return uploads.list_parts(call)
        return await self._operate_on_bucket(call, admission)

    async def _operate_on_bucket(self, call: Call, admission: Admission | None) -> Response:
        match call.operation:
            case "ListBuckets":
                return buckets.all_of(self.store)
            case "CreateBucket":
                return await buckets.create(self.store, call, admission, new=self.new)
            case "DeleteBucket":
                self.store.delete_bucket(call.bucket)
                return Response(204)
            case "ListObjectsV2":
                if call.query["list-type"] != "2":
                    return self._listings.first(self.store.bucket(call.bucket), call)
                return self._listings.second(self.store.bucket(call.bucket), call)
            case "ListObjects":
                return self._listings.first(self.store.bucket(call.bucket), call)
            case "ListObjectVersions":
                return self._listings.versions(self.store.bucket(call.bucket), call)
            case "ListMultipartUploads":
                return self.uploads.list_uploads(call)
            case "PutBucketVersioning" | "PutBucketRequestPayment" | "PutBucketEncryption":
                return await buckets.configure(self.store, call, admission, new=self.new)
            case operation if operation in _CONFIGURING:
                return buckets.configuration(self.store, call)
        raise not_implemented()

    def _change(self, call: Call) -> None:
        """Somebody writes the object anew: as long, every byte another."""
        old = self.store.get(call.bucket, call.key)
        data = bytes(byte ^ 0xFF for byte in old.data)
        self.store.put(call.bucket, call.key, Content(data, old.fields), ANY)

    def _void(self, call: Call) -> None:
        upload = self.uploads.open.get(call.query.get("uploadId", ""))
        if upload is not None and call.operation == "CompleteMultipartUpload":
            upload.void = True

    async def _control(self, request: Request) -> Response:
        try:
            return _json(await control(self, request))
        except NoPageError:
            return Response(404)
        except (TypeError, ValueError) as error:
            return Response(400, [("Content-Type", "text/plain")], f"Not a fault: {error}".encode())

    def stats(self) -> dict[str, Any]:
        """Requests per operation, writes per object, and what is there now."""
        writes: dict[str, Counter[str]] = {}
        for bucket, key, _ in self.writes:
            writes.setdefault(bucket, Counter())[key] += 1
        return {
            "requests": dict(self.requests),
            "writes": writes,
            "objects": {name: len(self.keys(name)) for name in self.store.buckets},
            "uploads": len(self.uploads.open),
            "failures": [repr(error) for error in self.failures],
        }


def _elsewhere(home: Bucket) -> S3Error:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html"""
    text = (
        "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests "
        "to this endpoint."
    )
    elements = {"Endpoint": f"{home.name}.s3.{home.region}.amazonaws.com", "Bucket": home.name, "Region": home.region}
    return S3Error(301, "PermanentRedirect", text, [("x-amz-bucket-region", home.region)], **elements)


def _stamped(response: Response, request_id: str) -> Response:
    response.headers += [("x-amz-request-id", request_id), ("x-amz-id-2", "here"), ("Server", "AmazonS3")]
    return response


def _json(body: dict[str, Any]) -> Response:
    return Response(200, [("Content-Type", "application/json")], json.dumps(body).encode())
