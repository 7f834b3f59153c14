/* Multipart uploads, also those of Google's XML API. A part is a blob; the whole is the list of its parts' segments.
 *
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html: completing an upload twice is answered like
 * the first time, so an upload is remembered after its end.
 */
#include <stdlib.h>
#include <string.h>

#include "server.h"

enum { MOST_PARTS = 10000, SMALLEST_PART = 5 * 1024 * 1024, REMEMBERED = 4096 };

struct upload {
    char id[33];
    struct bucket *bucket;
    struct text key, fields;
    struct blob **parts; /* by number, from 1 */
    uint64_t room;
    bool over;
    struct blob *whole;
};

static struct upload **uploads;
static size_t upload_total, upload_room;

/* Google's have no preconditions: https://cloud.google.com/storage/docs/request-preconditions */
static bool refused(struct conn *conn) {
    if (!http_header(&conn->request, S("x-goog-if-generation-match")).at) return false;
    s3_error(conn, 400, "NotImplemented", "A header or query you provided requested a function that is not implemented.");
    return true;
}

static void no_upload(struct conn *conn) {
    s3_error(conn, 404, "NoSuchUpload", "The specified multipart upload does not exist.");
}

static void release(struct upload *upload) {
    for (uint64_t i = 0; i < upload->room; i++)
        if (upload->parts[i]) blob_drop(upload->parts[i]);
    free(upload->parts);
    upload->parts = NULL;
    upload->room = 0;
    upload->over = true;
}

/* Those that are over go when there are too many: first come, first gone. */
static void forget_old(void) {
    size_t kept = 0, over = 0;
    for (size_t i = 0; i < upload_total; i++) over += uploads[i]->over;
    for (size_t i = 0; i < upload_total; i++) {
        struct upload *upload = uploads[i];
        if (upload->over && over > REMEMBERED / 2) {
            over--;
            if (upload->whole) blob_drop(upload->whole);
            free(upload->key.at);
            free(upload->fields.at);
            free(upload);
        } else {
            uploads[kept++] = upload;
        }
    }
    upload_total = kept;
}

static struct upload *asked_for(struct conn *conn, const struct s3 *s3) {
    static struct text id;
    http_query(&conn->request, S("uploadId"), &id);
    for (size_t i = upload_total; i--;) {
        struct upload *upload = uploads[i];
        if (same((struct slice){id.at, id.len}, slice_of(upload->id)) && upload->bucket == s3->bucket &&
            same((struct slice){upload->key.at, upload->key.len}, s3->key))
            return upload;
    }
    no_upload(conn);
    return NULL;
}

void s3_upload_begin(struct conn *conn, struct s3 *s3) {
    if (refused(conn)) return;
    if (upload_total >= REMEMBERED) forget_old();
    struct upload *upload = must_alloc(sizeof *upload);
    *upload = (struct upload){.bucket = s3->bucket};
    struct text id = {0}, xml = {0};
    uint64_t number[2] = {next_random(), next_random()};
    text_hex(&id, number, 16);
    memcpy(upload->id, id.at, 32);
    free(id.at);
    text_slice(&upload->key, s3->key);
    s3_fields(&conn->request, &upload->fields);
    if (upload_total == upload_room) {
        upload_room = upload_room ? upload_room * 2 : 64;
        uploads = must_realloc(uploads, upload_room * sizeof *uploads);
    }
    uploads[upload_total++] = upload;
    text_str(&xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<InitiateMultipartUploadResult "
                   "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>");
    text_xml(&xml, s3->name);
    text_str(&xml, "</Bucket><Key>");
    text_xml(&xml, s3->key);
    text_printf(&xml, "</Key><UploadId>%s</UploadId></InitiateMultipartUploadResult>", upload->id);
    reply_begin(conn, 200);
    reply_body(conn, "application/xml", (struct slice){xml.at, xml.len});
    free(xml.at);
}

void s3_upload_part(struct conn *conn, struct s3 *s3) {
    struct request *request = &conn->request;
    struct upload *upload = asked_for(conn, s3);
    uint64_t number;
    bool tells;
    struct slice md5;
    if (!upload) return;
    if (upload->over) return no_upload(conn);
    if (!to_number(http_query_raw(request, S("partNumber")), &number) || number < 1 || number > MOST_PARTS)
        return s3_error(conn, 400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive");
    if (!s3_checked(conn, &tells, &md5)) return;
    if (!request->body) request->body = buf_new(0), request->crc32c = 0;
    struct blob *part = blob_of(request->body, 0, request->body->len, request->crc32c);
    part->tells_crc32c = tells;
    if (md5.len) {
        memcpy(part->md5, md5.at, 16);
        part->has_md5 = true;
    }
    blob_tag(part, settings.md5 == MD5_ALWAYS);
    if (number >= upload->room) {
        uint64_t room = number * 2 < 16 ? 16 : number * 2;
        upload->parts = must_realloc(upload->parts, room * sizeof *upload->parts);
        memset(upload->parts + upload->room, 0, (room - upload->room) * sizeof *upload->parts);
        upload->room = room;
    }
    if (upload->parts[number]) blob_drop(upload->parts[number]);
    upload->parts[number] = part;
    stats.puts++;
    reply_begin(conn, 200);
    s3_stored_fields(conn, part);
    if (http_header(request, S("x-goog-hash")).at) {
        text_str(&conn->out, "x-goog-hash: crc32c=");
        text_crc32c(&conn->out, part->crc32c);
        text_str(&conn->out, "\r\n");
    }
    text_str(&conn->out, "Content-Length: 0\r\n\r\n");
}

static struct slice element(struct slice in, struct slice open, struct slice close) {
    const char *from = find(in, open);
    if (!from) return NOTHING;
    from += open.len;
    const char *to = find((struct slice){from, (size_t)(in.at + in.len - from)}, close);
    return to ? (struct slice){from, (size_t)(to - from)} : NOTHING;
}

static struct slice quoted_etag(struct slice value) {
    struct slice quote = S("&quot;"), number = S("&#34;");
    for (int i = 0; i < 2; i++) {
        struct slice mark = i ? number : quote;
        if (starts(value, mark) && value.len >= 2 * mark.len) return (struct slice){value.at + mark.len, value.len - 2 * mark.len};
    }
    return bare_etag(value);
}

/* The parts that the request names, in its order; the count, or -1 after an error was answered. */
static int named_parts(struct conn *conn, const struct upload *upload, struct blob **parts) {
    struct buf *body = conn->request.body;
    struct slice rest = body ? (struct slice){body->data, body->len} : NOTHING;
    int count = 0;
    uint64_t before = 0;
    for (;;) {
        struct slice part = element(rest, S("<Part>"), S("</Part>"));
        uint64_t number;
        if (!part.len) break;
        rest = (struct slice){part.at + part.len, (size_t)(rest.at + rest.len - part.at - part.len)};
        if (!to_number(element(part, S("<PartNumber>"), S("</PartNumber>")), &number)) break;
        struct blob *found = number < upload->room ? upload->parts[number] : NULL;
        struct slice etag = quoted_etag(element(part, S("<ETag>"), S("</ETag>")));
        if (!found || !same(etag, slice_of(found->etag)))
            return s3_error(conn, 400, "InvalidPart", "One or more of the specified parts could not be found."), -1;
        if (number <= before || count == MOST_PARTS)
            return s3_error(conn, 400, "InvalidPartOrder", "The list of parts was not in ascending order."), -1;
        if (count && parts[count - 1]->size < SMALLEST_PART)
            return s3_error(conn, 400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size"), -1;
        parts[count++] = found;
        before = number;
    }
    if (!count) s3_error(conn, 400, "MalformedXML", "The XML you provided names no part"), count = -1;
    return count;
}

static struct blob *joined(struct blob **parts, int count) {
    struct blob *whole = blob_new((unsigned)count);
    struct md5 md5;
    unsigned char digest[16];
    struct text tag = {0};
    md5_begin(&md5);
    for (int i = 0; i < count; i++) {
        whole->segment[i] = parts[i]->segment[0];
        buf_keep(whole->segment[i].buf);
        whole->crc32c = i ? crc32c_join(whole->crc32c, parts[i]->crc32c, parts[i]->size) : parts[i]->crc32c;
        whole->size += parts[i]->size;
        if (parts[i]->has_md5) md5_add(&md5, parts[i]->md5, 16);
        else md5_add(&md5, parts[i]->etag, strlen(parts[i]->etag));
    }
    md5_end(&md5, digest);
    text_hex(&tag, digest, 16);
    text_printf(&tag, "-%d", count);
    memcpy(whole->etag, tag.at, tag.len);
    free(tag.at);
    return whole;
}

static bool as_announced(struct conn *conn, const struct blob *whole) {
    struct slice crc = http_header(&conn->request, S("x-amz-checksum-crc32c"));
    struct slice size = http_header(&conn->request, S("x-amz-mp-object-size"));
    uint32_t expected;
    uint64_t bytes;
    bool full = same_nocase(http_header(&conn->request, S("x-amz-checksum-type")), S("FULL_OBJECT"));
    if (full && crc.at && (!read_crc32c(crc, &expected) || expected != whole->crc32c))
        return s3_error(conn, 400, "BadDigest", "The CRC32C you specified did not match the calculated checksum."), false;
    if (size.at && (!to_number(size, &bytes) || bytes != whole->size))
        return s3_error(conn, 400, "InvalidRequest", "The size you specified is not that of the parts."), false;
    return true;
}

static void completed(struct conn *conn, const struct s3 *s3, const struct blob *whole) {
    struct text xml = {0};
    text_str(&xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CompleteMultipartUploadResult "
                   "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>");
    text_xml(&xml, s3->name);
    text_str(&xml, "</Bucket><Key>");
    text_xml(&xml, s3->key);
    text_printf(&xml, "</Key><ETag>&quot;%s&quot;</ETag>", whole->etag);
    if (whole->tells_crc32c) {
        text_str(&xml, "<ChecksumCRC32C>");
        text_crc32c(&xml, whole->crc32c);
        text_str(&xml, "</ChecksumCRC32C><ChecksumType>FULL_OBJECT</ChecksumType>");
    }
    text_str(&xml, "</CompleteMultipartUploadResult>");
    reply_begin(conn, 200);
    reply_body(conn, "application/xml", (struct slice){xml.at, xml.len});
    free(xml.at);
}

void s3_upload_complete(struct conn *conn, struct s3 *s3) {
    static struct blob *parts[MOST_PARTS];
    if (refused(conn)) return;
    struct upload *upload = asked_for(conn, s3);
    if (!upload) return;
    if (upload->over && !upload->whole) return no_upload(conn);
    if (upload->over) return completed(conn, s3, upload->whole);
    int count = named_parts(conn, upload, parts);
    if (count < 0 || !s3_condition(conn, bucket_get(s3->bucket, s3->key))) return;
    struct blob *whole = joined(parts, count);
    if (!as_announced(conn, whole)) return blob_drop(whole);
    whole->tells_crc32c = same_nocase(http_header(&conn->request, S("x-amz-checksum-type")), S("FULL_OBJECT"));
    whole->fields = upload->fields.at;
    whole->fields_len = upload->fields.len;
    upload->fields = (struct text){0};
    bucket_put(s3->bucket, s3->key, whole);
    upload->whole = blob_outline(whole);
    completed(conn, s3, whole);
    release(upload);
}

void s3_upload_abort(struct conn *conn, struct s3 *s3) {
    struct upload *upload = asked_for(conn, s3);
    if (!upload) return;
    if (!upload->over) release(upload);
    reply_empty(conn, 204);
}
