/* GET and HEAD of an S3 object, with ranges and conditions. */
#include <string.h>

#include "server.h"

void s3_stored_fields(struct conn *conn, const struct blob *blob) {
    struct text *out = &conn->out;
    text_str(out, "ETag: \"");
    text_str(out, blob->etag);
    text_str(out, "\"\r\n");
    if (!blob->tells_crc32c) return;
    text_str(out, "x-amz-checksum-crc32c: ");
    text_crc32c(out, blob->crc32c);
    text_str(out, "\r\nx-amz-checksum-type: FULL_OBJECT\r\n");
}

enum span read_span(struct slice range, uint64_t size, uint64_t *from, uint64_t *len) {
    if (!range.at || !starts(range, S("bytes="))) return SPAN_NONE;
    const char *at = range.at + 6, *end = range.at + range.len, *dash = memchr(at, '-', (size_t)(end - at));
    uint64_t first, last;
    if (!dash) return SPAN_NONE;
    bool has_last = to_number((struct slice){dash + 1, (size_t)(end - dash - 1)}, &last);
    if (!to_number((struct slice){at, (size_t)(dash - at)}, &first)) {
        if (dash != at || !has_last) return SPAN_NONE;
        first = last < size ? size - last : 0; /* the last so many bytes */
        if (!last) return SPAN_BAD;
        has_last = false;
    }
    if (first >= size) return SPAN_BAD;
    if (!has_last || last >= size) last = size - 1;
    if (last < first) return SPAN_NONE;
    *from = first;
    *len = last - first + 1;
    return SPAN_OK;
}

static bool conditions_hold(struct conn *conn, const struct blob *blob) {
    struct slice match = http_header(&conn->request, S("if-match")), none = http_header(&conn->request, S("if-none-match"));
    struct slice etag = slice_of(blob->etag);
    if (match.at && !same(match, S("*")) && !same(bare_etag(match), etag)) {
        s3_error(conn, 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
        return false;
    }
    if (none.at && (same(none, S("*")) || same(bare_etag(none), etag))) return reply_empty(conn, 304), false;
    return true;
}

static void describe(struct conn *conn, const struct blob *blob) {
    struct text *out = &conn->out;
    text_str(out, "Accept-Ranges: bytes\r\nLast-Modified: ");
    text_http_date(out, blob->seconds);
    text_str(out, "\r\n");
    bool typed = false;
    for (const char *at = blob->fields, *end = at + blob->fields_len; at < end;) {
        struct slice name = slice_of(at), value = slice_of(at + name.len + 1);
        typed = typed || same(name, S("content-type"));
        if (starts(name, S("meta:"))) {
            text_str(out, "x-amz-meta-");
            name.at += 5, name.len -= 5;
        }
        text_slice(out, name);
        text_str(out, ": ");
        text_slice(out, value);
        text_str(out, "\r\n");
        at = value.at + value.len + 1;
    }
    if (!typed) text_str(out, "content-type: binary/octet-stream\r\n");
}

void s3_read(struct conn *conn, struct s3 *s3) {
    struct request *request = &conn->request;
    struct blob *blob = bucket_get(s3->bucket, s3->key);
    *(reply_is_head(conn) ? &stats.heads : &stats.gets) += 1;
    if (!blob) return s3_error(conn, 404, "NoSuchKey", "The specified key does not exist.");
    if (!conditions_hold(conn, blob)) return;
    uint64_t from = 0, len = blob->size;
    enum span span = read_span(http_header(request, S("range")), blob->size, &from, &len);
    if (span == SPAN_BAD) return s3_error(conn, 416, "InvalidRange", "The requested range is not satisfiable");
    reply_begin(conn, span == SPAN_OK ? 206 : 200);
    bool tells = blob->tells_crc32c;
    blob->tells_crc32c = tells && span == SPAN_NONE && same_nocase(http_header(request, S("x-amz-checksum-mode")), S("ENABLED"));
    s3_stored_fields(conn, blob);
    blob->tells_crc32c = tells;
    describe(conn, blob);
    if (span == SPAN_OK)
        text_printf(&conn->out, "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)from,
                    (unsigned long long)(from + len - 1), (unsigned long long)blob->size);
    reply_blob(conn, blob, from, len);
}
