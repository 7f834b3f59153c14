/* Uploads in one request: the bytes alone, or the metadata and the bytes as multipart/related.
 *
 * https://cloud.google.com/storage/docs/uploading-objects#rest-upload-objects
 */
#include <stdlib.h>
#include <string.h>

#include "server.h"

/* Checksums in headers count like those in the metadata. */
void gcs_claims(const struct request *request, struct gcs_metadata *metadata) {
    for (unsigned i = 0; i < request->count; i++) {
        if (!same(request->headers[i].name, S("x-goog-hash"))) continue;
        struct slice value = request->headers[i].value;
        const char *end = value.at + value.len, *crc = find(value, S("crc32c=")), *md5 = find(value, S("md5="));
        if (crc) metadata->has_crc32c = read_crc32c((struct slice){crc + 7, end - crc >= 15 ? 8 : (size_t)(end - crc - 7)}, &metadata->crc32c);
        if (md5) metadata->has_md5 = unbase64((struct slice){md5 + 4, end - md5 >= 28 ? 24 : (size_t)(end - md5 - 4)}, metadata->md5, 16) == 16;
    }
}

static void mismatch(struct conn *conn, const char *which) {
    char message[128] = "Provided ";
    strcat(strcat(strcat(strcat(message, which), " hash doesn't match calculated "), which), " hash.");
    gcs_error(conn, 400, "invalid", message);
}

/* Puts the blob in its place if the checksums and the preconditions hold; NULL after an error was answered. Takes it over. */
struct blob *gcs_stored(struct conn *conn, const struct gcs *gcs, struct blob *blob, struct gcs_metadata *metadata) {
    if (metadata->has_crc32c && metadata->crc32c != blob->crc32c) return mismatch(conn, "CRC32C"), blob_drop(blob), NULL;
    if (metadata->has_md5 && settings.md5 != MD5_NEVER) {
        blob_md5(blob);
        if (memcmp(blob->md5, metadata->md5, 16)) return mismatch(conn, "MD5"), blob_drop(blob), NULL;
    } else if (metadata->has_md5) {
        memcpy(blob->md5, metadata->md5, 16);
        blob->has_md5 = true;
    }
    if (!gcs_condition(conn, bucket_get(gcs->bucket, gcs->key))) return blob_drop(blob), NULL;
    blob_tag(blob, settings.md5 == MD5_ALWAYS);
    blob->tells_crc32c = true;
    blob->fields = metadata->fields.at;
    blob->fields_len = metadata->fields.len;
    metadata->fields = (struct text){0};
    bucket_put(gcs->bucket, gcs->key, blob);
    stats.puts++;
    return blob;
}

static bool has_field(const struct gcs_metadata *metadata, struct slice name) {
    struct blob fields = {.fields = metadata->fields.at, .fields_len = metadata->fields.len};
    return blob_get(&fields, name).at != NULL;
}

struct parts {
    struct slice json, type, data;
};

static struct slice boundary_of(const struct request *request) {
    struct slice type = http_header(request, S("content-type"));
    const char *at = type.at ? find(type, S("boundary=")) : NULL;
    if (!at) return NOTHING;
    struct slice value = {at + 9, (size_t)(type.at + type.len - at - 9)};
    const char *end = memchr(value.at, ';', value.len);
    if (end) value.len = (size_t)(end - value.at);
    if (value.len >= 2 && (*value.at == '"' || *value.at == '\'')) value.at++, value.len -= 2;
    return value;
}

/* The blank line behind a part's headers; what follows it is the part. */
static const char *behind_headers(struct slice part) {
    if (starts(part, S("\r\n"))) return part.at + 2;
    const char *blank = find(part, S("\r\n\r\n"));
    return blank ? blank + 4 : NULL;
}

static struct slice type_in(const char *at, const char *end) {
    while (at < end) {
        const char *stop = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (!stop) stop = end;
        struct slice name = S("content-type:");
        if ((size_t)(stop - at) > name.len && same_nocase((struct slice){at, name.len}, name)) {
            at += name.len;
            while (at < stop && *at == ' ') at++;
            return (struct slice){at, (size_t)(stop - at)};
        }
        at = stop + 2;
    }
    return NOTHING;
}

/* The closing boundary is looked for at the end only: the bytes in between may be anything, and are not searched. */
static bool taken_apart(struct slice body, struct slice boundary, struct parts *parts) {
    char mark[256] = "\r\n--";
    if (!boundary.len || boundary.len > 200) return false;
    memcpy(mark + 4, boundary.at, boundary.len);
    struct slice line = {mark, boundary.len + 4};
    const char *end = body.at + body.len;
    struct slice first = {line.at + 2, line.len - 2};
    const char *at = starts(body, first) ? body.at : find(body, line);
    if (!at) return false;
    at += (at == body.at ? first.len : line.len) + 2;
    if (at > end || !(at = behind_headers((struct slice){at, (size_t)(end - at)}))) return false;
    const char *second = find((struct slice){at, (size_t)(end - at)}, line);
    if (!second) return false;
    parts->json = (struct slice){at, (size_t)(second - at)};
    const char *headers = second + line.len + 2;
    if (headers > end) return false;
    const char *data = behind_headers((struct slice){headers, (size_t)(end - headers)});
    if (!data) return false;
    parts->type = type_in(headers, data);
    size_t window = line.len + 16;
    const char *tail = (size_t)(end - data) > window ? end - window : data;
    /* The line break before it belongs to the boundary; an empty part may share the one that ends its headers. */
    const char *last = find((struct slice){tail, (size_t)(end - tail)}, line);
    if (!last && data >= body.at + 2 && starts((struct slice){data - 2, (size_t)(end - data + 2)}, line)) last = data;
    if (!last) return false;
    parts->data = (struct slice){data, (size_t)(last - data)};
    return true;
}

static void whole_upload(struct conn *conn, struct gcs *gcs, struct slice json, struct slice data, struct slice type) {
    static struct text key;
    struct request *request = &conn->request;
    struct gcs_metadata metadata;
    if (!gcs_metadata_read(json, &metadata)) {
        gcs_error(conn, 400, "parseError", "Parse Error");
        return gcs_metadata_free(&metadata);
    }
    gcs_claims(request, &metadata);
    if (!http_query(request, S("name"), &key)) text_slice(&key, metadata.name.len ? (struct slice){metadata.name.at, metadata.name.len} : NOTHING);
    gcs->key = (struct slice){key.at, key.len};
    if (!key.len || key.len > 1024) {
        gcs_error(conn, 400, "required", "A name of 1 to 1024 bytes is required.");
        return gcs_metadata_free(&metadata);
    }
    if (type.len && !has_field(&metadata, S("content-type"))) blob_field(&metadata.fields, S("content-type"), type);
    if (!request->body) request->body = buf_new(0);
    struct buf *body = request->body;
    size_t at = data.len ? (size_t)(data.at - body->data) : 0;
    uint32_t crc32c = data.len == body->len ? request->crc32c : crc32c_add(0, data.at, data.len);
    struct blob *blob = gcs_stored(conn, gcs, blob_of(body, at, data.len, data.len ? crc32c : 0), &metadata);
    if (blob) gcs_answer(conn, gcs, blob);
    gcs_metadata_free(&metadata);
}

void gcs_upload(struct conn *conn, struct gcs *gcs) {
    struct request *request = &conn->request;
    struct slice kind = http_query_raw(request, S("uploadType"));
    struct slice body = request->body ? (struct slice){request->body->data, request->body->len} : NOTHING;
    if (http_query_raw(request, S("upload_id")).at) return gcs_session_go_on(conn, gcs);
    if (!same(request->method, S("POST"))) return gcs_error(conn, 404, "notFound", "Not Found");
    if (same(kind, S("resumable"))) {
        struct gcs_metadata metadata;
        if (gcs_metadata_read(body, &metadata)) gcs_session_begin(conn, gcs, &metadata);
        else gcs_error(conn, 400, "parseError", "Parse Error");
        return gcs_metadata_free(&metadata);
    }
    if (same(kind, S("multipart"))) {
        struct parts parts;
        if (taken_apart(body, boundary_of(request), &parts)) return whole_upload(conn, gcs, parts.json, parts.data, parts.type);
        return gcs_error(conn, 400, "badRequest", "Malformed multipart body.");
    }
    if (same(kind, S("media"))) {
        struct slice type = http_header(request, S("content-type"));
        return whole_upload(conn, gcs, NOTHING, body, type.at ? type : NOTHING);
    }
    gcs_error(conn, 400, "invalidParameter", "Invalid upload type.");
}
