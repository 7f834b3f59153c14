"""Who may come in: signatures in headers, in URLs and in streams, verified as AWS describes them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from botocore.credentials import Credentials

from tests.fakes.s3 import Identity, S3Server
from tests.unit.fakes.s3.wire import code, presigned, said, signed
from tests.unit.fakes.wire import Answer, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLE = Identity("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
"""The keys of AWS's examples."""
THEN = datetime(2013, 5, 24, tzinfo=UTC).timestamp()
SCOPE = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"


@pytest.fixture
def of_the_examples() -> Iterator[S3Server]:
    """A server on the day on which AWS's examples were signed."""
    with S3Server(buckets=["examplebucket"], identities=[EXAMPLE], clock=lambda: THEN) as running:
        yield running
        assert running.failures == []


def example(server: S3Server, method: str, path: str, signature: str, names: str, body: bytes = b"", **headers: str) -> Answer:
    authorization = f"AWS4-HMAC-SHA256 Credential={SCOPE},SignedHeaders={names},Signature={signature}"
    sent = {"Host": "examplebucket.s3.amazonaws.com", "x_amz_date": "20130524T000000Z", **headers}
    return ask(server, method, path, body or None, Authorization=authorization, **sent)


def test_the_documented_get(of_the_examples: S3Server) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "Example: GET Object"."""
    # Given the object of the example
    of_the_examples.put("examplebucket", "test.txt", b"Welcome to Amazon S3.")
    # When it is read with the published signature
    answer = example(
        of_the_examples,
        "GET",
        "/test.txt",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        "host;range;x-amz-content-sha256;x-amz-date",
        Range="bytes=0-9",
        x_amz_content_sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    )
    # Then the signature is right
    assert (answer.status, answer.body) == (206, b"Welcome to")


def test_the_documented_put(of_the_examples: S3Server) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "Example: PUT Object"."""
    # When the object of the example is put with the published signature; its key holds a dollar sign
    answer = example(
        of_the_examples,
        "PUT",
        "/test%24file.text",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        b"Welcome to Amazon S3.",
        Date="Fri, 24 May 2013 00:00:00 GMT",
        x_amz_storage_class="REDUCED_REDUNDANCY",
        x_amz_content_sha256="44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
    )
    # Then it is there
    assert answer.status == 200
    assert of_the_examples.data("examplebucket", "test$file.text") == b"Welcome to Amazon S3."


def test_the_documented_list(of_the_examples: S3Server) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "Example: Get Bucket (List Objects)"."""
    answer = example(
        of_the_examples,
        "GET",
        "/?max-keys=2&prefix=J",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        "host;x-amz-content-sha256;x-amz-date",
        x_amz_content_sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    )
    assert answer.status == 200
    assert said(answer, "Name") == "examplebucket"


def test_the_documented_presigned_url(of_the_examples: S3Server) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html, "Example"."""
    of_the_examples.put("examplebucket", "test.txt", b"Welcome")
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    host = "examplebucket.s3.amazonaws.com"
    assert ask(of_the_examples, "GET", f"/test.txt?{query}", Host=host).body == b"Welcome"
    # And it is good for no other object
    assert code(ask(of_the_examples, "GET", f"/other.txt?{query}", Host=host)) == "SignatureDoesNotMatch"


CHUNKS = (
    b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + b"a" * 65536 + b"\r\n"
    b"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + b"a" * 1024 + b"\r\n"
    b"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
)


@pytest.mark.parametrize(
    ("body", "answered"),
    [
        (CHUNKS, ""),
        (CHUNKS.replace(b"aaaa\r\n400", b"aaab\r\n400"), "SignatureDoesNotMatch"),
        (CHUNKS.replace(b"0;chunk-signature=b", b"0;chunk-signature=c"), "SignatureDoesNotMatch"),
    ],
    ids=["as documented", "another byte", "another end"],
)
def test_the_documented_stream(of_the_examples: S3Server, body: bytes, answered: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html, "Example: PUT Object"."""
    assert len(body) == 66824
    answer = example(
        of_the_examples,
        "PUT",
        "/examplebucket/chunkObject.txt",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
        body,
        Host="s3.amazonaws.com",
        x_amz_storage_class="REDUCED_REDUNDANCY",
        x_amz_content_sha256="STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        x_amz_decoded_content_length="66560",
        Content_Encoding="aws-chunked",
        Content_Length="66824",
    )
    if answered:
        assert (answer.status, code(answer)) == (403, answered)
        assert of_the_examples.keys("examplebucket") == []
    else:
        assert answer.status == 200
        blob = of_the_examples.blob("examplebucket", "chunkObject.txt")
        assert (blob.data, blob.fields.headers) == (b"a" * 66560, {})


TRAILED = (
    b"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" + b"a" * 65536 + b"\r\n"
    b"400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" + b"a" * 1024 + b"\r\n"
    b"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n"
    b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
    b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
)


@pytest.mark.parametrize(
    ("body", "answered"),
    [(TRAILED, ""), (TRAILED.replace(b"sOO8", b"sOO9"), "SignatureDoesNotMatch")],
    ids=["as documented", "another checksum"],
)
def test_the_documented_stream_with_a_trailer(of_the_examples: S3Server, body: bytes, answered: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html, "Example: PUT Object"."""
    answer = example(
        of_the_examples,
        "PUT",
        "/examplebucket/chunkObject.txt",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
        body,
        Host="s3.amazonaws.com",
        x_amz_storage_class="REDUCED_REDUNDANCY",
        x_amz_content_sha256="STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        x_amz_decoded_content_length="66560",
        x_amz_trailer="x-amz-checksum-crc32c",
        Content_Encoding="aws-chunked",
    )
    assert (code(answer) if answered else answer.status) == (answered or 200)
    assert of_the_examples.keys("examplebucket") == ([] if answered else ["chunkObject.txt"])


def test_nobody_comes_in_unsigned(server: S3Server) -> None:
    server.put("demo", "k", b"x")
    for method, path in (("GET", "/demo/k"), ("PUT", "/demo/k"), ("GET", "/demo"), ("GET", "/"), ("GET", "/nobody-has-it/k")):
        answer = ask(server, method, path)
        assert (answer.status, code(answer)) == (403, "AccessDenied")
    # And in a public bucket they may read
    server.bucket("demo").public = True
    assert ask(server, "GET", "/demo/k").body == b"x"
    assert code(ask(server, "PUT", "/demo/k", b"y")) == "AccessDenied"


@pytest.mark.parametrize(
    ("change", "status", "answered"),
    [
        (lambda sent: sent | {"credentials": Credentials("AKIDTEST", "WRONG")}, 403, "SignatureDoesNotMatch"),
        (lambda sent: sent | {"credentials": Credentials("NOBODY", "SECRETTEST")}, 403, "InvalidAccessKeyId"),
        (lambda sent: sent | {"credentials": Credentials("AKIDTEST", "SECRETTEST", "a token")}, 400, "InvalidToken"),
        (lambda sent: sent | {"region": "eu-west-1"}, 400, "AuthorizationHeaderMalformed"),
        (lambda sent: sent | {"late_x_amz_meta_more": "unsigned"}, 403, "AccessDenied"),
        (lambda sent: sent | {"late_authorization": "AWS AKIDTEST:c2lnbmF0dXJl"}, 400, "InvalidRequest"),
        (lambda sent: sent | {"late_authorization": "AWS4-HMAC-SHA256 nonsense"}, 400, "AuthorizationHeaderMalformed"),
    ],
    ids=["secret", "key", "token", "region", "unsigned header", "version 2", "nonsense"],
)
def test_what_is_not_signed_right_is_not_taken(
    server: S3Server, change: Callable[[dict[str, object]], dict[str, object]], status: int, answered: str
) -> None:
    sent = change({})
    late = sent.pop("late_authorization", None)
    if late is None:
        answer = signed(server, "PUT", "/demo/k", b"bytes", **sent)  # type: ignore[arg-type]
    else:
        answer = ask(server, "PUT", "/demo/k", b"bytes", authorization=str(late))
    assert (answer.status, code(answer)) == (status, answered)
    assert server.keys("demo") == []


def test_a_wrong_region_is_answered_with_the_right_one(server: S3Server) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, AuthorizationHeaderMalformed."""
    answer = signed(server, "GET", "/demo/k", region="eu-central-1")
    assert said(answer, "Region") == "us-east-1"
    assert "'eu-central-1' is wrong; expecting 'us-east-1'" in said(answer, "Message")


def test_a_clock_that_is_off(server: S3Server) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, RequestTimeTooSkewed: more than 15 minutes."""
    for off, status in ((-16 * 60, 403), (-14 * 60, 404), (14 * 60, 404), (16 * 60, 403)):
        with S3Server(buckets=["demo"], clock=lambda off=off: time.time() + off) as elsewhere:  # type: ignore[misc]
            answer = signed(elsewhere, "GET", "/demo/k")
            assert (answer.status, code(answer)) == (status, "RequestTimeTooSkewed" if status == 403 else "NoSuchKey")


def test_temporary_keys_need_their_token_and_end() -> None:
    # Given temporary keys that end in a minute
    moment = time.time()
    temporary = Identity("ASIATEST", "SECRET", "token", moment + 60)
    now = [moment]
    with S3Server(buckets=["demo"], identities=[temporary], clock=lambda: now[0]) as server:
        server.put("demo", "k", b"x")
        keys = Credentials("ASIATEST", "SECRET", "token")
        # When they are used with their token, without, and with another
        # Then only the first is taken
        assert signed(server, "GET", "/demo/k", credentials=keys).body == b"x"
        assert ask(server, "GET", presigned(server, "/demo/k", credentials=keys)).body == b"x"
        assert code(signed(server, "GET", "/demo/k", credentials=Credentials("ASIATEST", "SECRET"))) == "InvalidAccessKeyId"
        assert code(signed(server, "GET", "/demo/k", credentials=Credentials("ASIATEST", "SECRET", "other"))) == "InvalidToken"
        # And after the minute none
        now[0] += 61
        answer = signed(server, "GET", "/demo/k", credentials=keys)
        assert (answer.status, code(answer)) == (400, "ExpiredToken")


def test_a_presigned_url_ends() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html, X-Amz-Expires."""
    now = [time.time()]
    with S3Server(buckets=["demo"], clock=lambda: now[0]) as server:
        server.put("demo", "k", b"x")
        url = presigned(server, "/demo/k", seconds=60)
        assert ask(server, "GET", url).body == b"x"
        # A range is no part of the signature
        server.put("demo", "k", b"xyz")
        assert ask(server, "GET", url, Range="bytes=1-1").body == b"y"
        for changed in (url.replace("/demo/k", "/demo/l"), url.replace("Expires=60", "Expires=600")):
            assert code(ask(server, "GET", changed)) == "SignatureDoesNotMatch"
        assert code(ask(server, "PUT", url, b"x")) == "SignatureDoesNotMatch"
        now[0] += 61
        answer = ask(server, "GET", url)
        assert (answer.status, code(answer), said(answer, "Message")) == (403, "AccessDenied", "Request has expired")
        now[0] -= 61 + 3600
        assert said(ask(server, "GET", url), "Message") == "Request is not valid yet"


@pytest.mark.parametrize(
    ("old", "new"),
    [("X-Amz-Expires=60", "X-Amz-Expires=604801"), ("&X-Amz-Date=", "&X-Amz-Date=1"), ("&X-Amz-Expires=60", "")],
    ids=["more than a week", "no date", "no end"],
)
def test_a_presigned_url_that_cannot_be(server: S3Server, old: str, new: str) -> None:
    answer = ask(server, "GET", presigned(server, "/demo/k").replace(old, new))
    assert (answer.status, code(answer)) == (400, "AuthorizationQueryParametersError")


def test_a_body_that_is_not_what_was_signed(server: S3Server) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, XAmzContentSHA256Mismatch."""
    answer = signed(server, "PUT", "/demo/k", b"bytes", x_amz_content_sha256="0" * 64)
    assert (answer.status, code(answer)) == (400, "XAmzContentSHA256Mismatch")
    assert server.keys("demo") == []
    assert signed(server, "PUT", "/demo/k", b"bytes", x_amz_content_sha256="UNSIGNED-PAYLOAD").status == 200
