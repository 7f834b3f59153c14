/* S3, path-style, without signatures: which operation a request asks for, and the writing ones.
 *
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
 */
#include <stdlib.h>
#include <string.h>

#include "server.h"

void s3_error(struct conn *conn, int status, const char *code, const char *message) {
    struct text xml = {0};
    text_str(&xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>");
    text_str(&xml, code);
    text_str(&xml, "</Code><Message>");
    text_str(&xml, message);
    text_str(&xml, "</Message><RequestId>bench</RequestId></Error>");
    reply_begin(conn, status);
    reply_body(conn, "application/xml", (struct slice){xml.at, xml.len});
    free(xml.at);
}

static void missing_key(struct conn *conn) { s3_error(conn, 404, "NoSuchKey", "The specified key does not exist."); }

struct slice bare_etag(struct slice value) {
    if (starts(value, S("W/"))) value.at += 2, value.len -= 2;
    if (value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"') value.at++, value.len -= 2;
    return value;
}

static const char *const CARRIED[] = {"content-type", "cache-control", "content-disposition", "content-encoding",
                                      "content-language", "expires", "x-amz-storage-class"};

static bool is_carried(struct slice name) {
    for (size_t i = 0; i < sizeof CARRIED / sizeof *CARRIED; i++)
        if (same(name, slice_of(CARRIED[i]))) return true;
    return false;
}

/* What a request says about the object beside its bytes. "aws-chunked" is about the request alone. */
void s3_fields(const struct request *request, struct text *fields) {
    for (unsigned i = 0; i < request->count; i++) {
        struct slice name = request->headers[i].name, value = request->headers[i].value;
        bool amz = starts(name, S("x-amz-meta-"));
        if (amz || starts(name, S("x-goog-meta-"))) {
            size_t mark = amz ? 11 : 12;
            text_str(fields, "meta:");
            blob_field(fields, (struct slice){name.at + mark, name.len - mark}, value);
        } else if (is_carried(name)) {
            if (same(name, S("content-encoding")) && starts(value, S("aws-chunked"))) {
                value = (struct slice){value.at + 11, value.len - 11};
                while (value.len && (*value.at == ',' || *value.at == ' ')) value.at++, value.len--;
                if (!value.len) continue;
            }
            blob_field(fields, name, value);
        }
    }
}

static void give_fields(const struct request *request, struct blob *blob) {
    struct text fields = {0};
    s3_fields(request, &fields);
    free(blob->fields);
    blob->fields = fields.at;
    blob->fields_len = fields.len;
}

bool s3_condition(struct conn *conn, const struct blob *there) {
    struct slice none = http_header(&conn->request, S("if-none-match")), match = http_header(&conn->request, S("if-match"));
    if (match.at && !there) return missing_key(conn), false;
    bool held = !(none.at && there) && !(match.at && !same(match, S("*")) && !same(bare_etag(match), slice_of(there->etag)));
    if (!held) s3_error(conn, 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
    return held;
}

static bool bad_digest(struct conn *conn) {
    return s3_error(conn, 400, "BadDigest", "The checksum you specified did not match what we received."), false;
}

/* Compares the bytes with the CRC32C and MD5 that came with them. `md5` is the claimed one, as 16 bytes, or empty. */
bool s3_checked(struct conn *conn, bool *tells_crc32c, struct slice *md5) {
    static unsigned char claimed[16];
    struct request *request = &conn->request;
    struct slice crc = http_header(request, S("x-amz-checksum-crc32c")), goog = http_header(request, S("x-goog-hash"));
    const char *of_goog = goog.at ? find(goog, S("crc32c=")) : NULL;
    if (of_goog) crc = (struct slice){of_goog + 7, goog.at + goog.len - of_goog >= 15 ? 8 : (size_t)(goog.at + goog.len - of_goog - 7)};
    if (!crc.at) {
        const char *line = find(request->trailers, S("x-amz-checksum-crc32c:"));
        if (line) {
            crc.at = line + 22;
            crc.len = strcspn(crc.at, "\n");
            while (crc.len && *crc.at == ' ') crc.at++, crc.len--;
        }
    }
    uint32_t expected;
    *tells_crc32c = crc.at != NULL;
    if (crc.at && (!read_crc32c(crc, &expected) || expected != request->crc32c)) return bad_digest(conn);
    struct slice digest = http_header(request, S("content-md5"));
    *md5 = NOTHING;
    if (!digest.at) return true;
    if (unbase64(digest, claimed, 16) != 16) return s3_error(conn, 400, "InvalidDigest", "The Content-MD5 you specified is not valid."), false;
    *md5 = (struct slice){(char *)claimed, 16};
    if (settings.md5 == MD5_NEVER) return true;
    struct md5 state;
    unsigned char actual[16];
    md5_begin(&state);
    if (request->body) md5_add(&state, request->body->data, request->body->len);
    md5_end(&state, actual);
    return memcmp(actual, claimed, 16) ? bad_digest(conn) : true;
}

static void put_object(struct conn *conn, struct s3 *s3) {
    struct request *request = &conn->request;
    bool tells;
    struct slice md5;
    if (!s3_condition(conn, bucket_get(s3->bucket, s3->key)) || !s3_checked(conn, &tells, &md5)) return;
    if (!request->body) request->body = buf_new(0), request->crc32c = 0;
    struct blob *blob = blob_of(request->body, 0, request->body->len, request->crc32c);
    blob->tells_crc32c = tells;
    if (md5.len) {
        memcpy(blob->md5, md5.at, 16);
        blob->has_md5 = true;
    }
    blob_tag(blob, settings.md5 == MD5_ALWAYS);
    give_fields(request, blob);
    bucket_put(s3->bucket, s3->key, blob);
    stats.puts++;
    reply_begin(conn, 200);
    s3_stored_fields(conn, blob);
    text_str(&conn->out, "Content-Length: 0\r\n\r\n");
}

/* A copy shares the bytes of its source. */
static void copy_object(struct conn *conn, struct s3 *s3, struct slice source) {
    struct text path = {0};
    unescape_url(&path, source, false);
    struct slice whole = {path.at, path.len};
    if (starts(whole, S("/"))) whole.at++, whole.len--;
    const char *slash = memchr(whole.at, '/', whole.len);
    struct bucket *bucket = slash ? bucket_find((struct slice){whole.at, (size_t)(slash - whole.at)}) : NULL;
    struct blob *old = bucket ? bucket_get(bucket, (struct slice){slash + 1, (size_t)(whole.at + whole.len - slash - 1)}) : NULL;
    free(path.at);
    if (!old) return missing_key(conn);
    struct blob *blob = blob_share(old);
    if (same_nocase(http_header(&conn->request, S("x-amz-metadata-directive")), S("REPLACE"))) give_fields(&conn->request, blob);
    bucket_put(s3->bucket, s3->key, blob);
    stats.puts++;
    struct text xml = {0};
    text_str(&xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CopyObjectResult><LastModified>");
    text_iso(&xml, blob->seconds);
    text_printf(&xml, "</LastModified><ETag>&quot;%s&quot;</ETag></CopyObjectResult>", blob->etag);
    reply_begin(conn, 200);
    reply_body(conn, "application/xml", (struct slice){xml.at, xml.len});
    free(xml.at);
}

static void on_object(struct conn *conn, struct s3 *s3) {
    struct request *request = &conn->request;
    struct slice method = request->method;
    bool of_upload = http_query_raw(request, S("uploadId")).at != NULL;
    struct slice source = http_header(request, S("x-amz-copy-source"));
    if (s3->key.len > 1024) return s3_error(conn, 400, "KeyTooLongError", "Your key is too long");
    if (same(method, S("GET")) || same(method, S("HEAD"))) return s3_read(conn, s3);
    if (same(method, S("PUT"))) {
        if (of_upload) return s3_upload_part(conn, s3);
        return source.at ? copy_object(conn, s3, source) : put_object(conn, s3);
    }
    if (same(method, S("POST"))) {
        if (of_upload) return s3_upload_complete(conn, s3);
        if (http_query_raw(request, S("uploads")).at) return s3_upload_begin(conn, s3);
    }
    if (same(method, S("DELETE"))) {
        if (of_upload) return s3_upload_abort(conn, s3);
        bucket_delete(s3->bucket, s3->key);
        return reply_empty(conn, 204);
    }
    s3_error(conn, 501, "NotImplemented", "This server does not know that operation.");
}

static void small_document(struct conn *conn, struct slice xml) {
    reply_begin(conn, 200);
    reply_body(conn, "application/xml", xml);
}

static void on_bucket(struct conn *conn, struct s3 *s3) {
    struct request *request = &conn->request;
    struct slice method = request->method;
    if (same(method, S("PUT"))) {
        bucket_make(s3->name);
        return reply_empty(conn, 200);
    }
    if (!s3->bucket) return s3_error(conn, 404, "NoSuchBucket", "The specified bucket does not exist");
    if (same(method, S("HEAD"))) {
        reply_begin(conn, 200);
        text_str(&conn->out, "x-amz-bucket-region: us-east-1\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    if (same(method, S("DELETE"))) {
        if (bucket_remove(s3->bucket)) return reply_empty(conn, 204);
        return s3_error(conn, 409, "BucketNotEmpty", "The bucket you tried to delete is not empty");
    }
    if (!same(method, S("GET"))) return s3_error(conn, 501, "NotImplemented", "This server does not know that operation.");
    if (http_query_raw(request, S("location")).at)
        return small_document(conn, S("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<LocationConstraint "
                                      "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></LocationConstraint>"));
    if (http_query_raw(request, S("versioning")).at)
        return small_document(conn, S("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<VersioningConfiguration/>"));
    s3_list(conn, s3);
}

static void list_buckets(struct conn *conn) {
    struct text xml = {0};
    text_str(&xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListAllMyBucketsResult><Buckets>");
    for (size_t i = 0; i < bucket_count(); i++) {
        if (!bucket_at(i)->created) continue;
        text_str(&xml, "<Bucket><Name>");
        text_xml(&xml, slice_of(bucket_at(i)->name));
        text_str(&xml, "</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket>");
    }
    text_str(&xml, "</Buckets></ListAllMyBucketsResult>");
    small_document(conn, (struct slice){xml.at, xml.len});
    free(xml.at);
}

bool s3_handle(struct conn *conn) {
    static struct text path;
    path.len = 0;
    unescape_url(&path, conn->request.path, false);
    struct slice whole = {path.at + 1, path.len - 1};
    if (!whole.len) return list_buckets(conn), true;
    const char *slash = memchr(whole.at, '/', whole.len);
    struct s3 s3 = {.name = {whole.at, slash ? (size_t)(slash - whole.at) : whole.len}};
    if (slash) s3.key = (struct slice){slash + 1, (size_t)(whole.at + whole.len - slash - 1)};
    s3.bucket = bucket_find(s3.name);
    if (!s3.key.len) on_bucket(conn, &s3);
    else if (!s3.bucket) s3_error(conn, 404, "NoSuchBucket", "The specified bucket does not exist");
    else on_object(conn, &s3);
    return true;
}
