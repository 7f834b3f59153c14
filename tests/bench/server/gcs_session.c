/* Resumable uploads. What has come is a list of buffers, one for each request, which become the object's segments.
 *
 * https://cloud.google.com/storage/docs/performing-resumable-uploads: all chunks but the last are multiples of 256 KiB; of others
 * only whole multiples are kept, and the answer says how many bytes those are.
 */
#include <stdlib.h>
#include <string.h>

#include "server.h"

enum { MULTIPLE = 256 * 1024, REMEMBERED = 4096 };

struct session {
    char id[33];
    bool cancelled;
    struct bucket *bucket;
    struct text key;
    struct gcs_metadata metadata;
    struct segment *segments;
    unsigned count, room;
    uint64_t held;
    uint32_t crc32c;
    struct blob *whole; /* when it is over */
};

static struct session **sessions;
static size_t session_total, session_room;

static void release_bytes(struct session *session) {
    for (unsigned i = 0; i < session->count; i++) buf_drop(session->segments[i].buf);
    free(session->segments);
    session->segments = NULL;
    session->count = session->room = 0;
}

static void forget_old(void) {
    size_t kept = 0, over = 0;
    for (size_t i = 0; i < session_total; i++) over += sessions[i]->cancelled || sessions[i]->whole;
    for (size_t i = 0; i < session_total; i++) {
        struct session *session = sessions[i];
        if ((session->cancelled || session->whole) && over > REMEMBERED / 2) {
            over--;
            if (session->whole) blob_drop(session->whole);
            release_bytes(session);
            gcs_metadata_free(&session->metadata);
            free(session->key.at);
            free(session);
        } else {
            sessions[kept++] = session;
        }
    }
    session_total = kept;
}

void gcs_session_begin(struct conn *conn, struct gcs *gcs, struct gcs_metadata *metadata) {
    struct request *request = &conn->request;
    struct text key = {0}, id = {0};
    if (!http_query(request, S("name"), &key) && metadata->name.len) text_slice(&key, (struct slice){metadata->name.at, metadata->name.len});
    if (!key.len || key.len > 1024) {
        free(key.at);
        return gcs_error(conn, 400, "required", "A name of 1 to 1024 bytes is required.");
    }
    gcs->key = (struct slice){key.at, key.len};
    if (!gcs_condition(conn, bucket_get(gcs->bucket, gcs->key))) return free(key.at);
    if (session_total >= REMEMBERED) forget_old();
    struct session *session = must_alloc(sizeof *session);
    *session = (struct session){.bucket = gcs->bucket, .key = key, .metadata = *metadata};
    *metadata = (struct gcs_metadata){0};
    struct blob fields = {.fields = session->metadata.fields.at, .fields_len = session->metadata.fields.len};
    struct slice type = http_header(request, S("x-upload-content-type"));
    if (type.at && !blob_get(&fields, S("content-type")).at) blob_field(&session->metadata.fields, S("content-type"), type);
    gcs_claims(request, &session->metadata);
    uint64_t number[2] = {next_random(), next_random()};
    text_hex(&id, number, 16);
    memcpy(session->id, id.at, 32);
    free(id.at);
    if (session_total == session_room) {
        session_room = session_room ? session_room * 2 : 64;
        sessions = must_realloc(sessions, session_room * sizeof *sessions);
    }
    sessions[session_total++] = session;
    reply_begin(conn, 200);
    struct text *out = &conn->out;
    text_str(out, tls_on() ? "Location: https://" : "Location: http://");
    text_slice(out, http_header(request, S("host")));
    text_slice(out, request->path);
    text_str(out, "?");
    text_slice(out, request->query); /* its preconditions hold until the end */
    text_printf(out, "&upload_id=%s\r\nX-GUploader-UploadID: %s\r\nContent-Length: 0\r\n\r\n", session->id, session->id);
}

/* 308, or in the words that Google's newer libraries ask for. */
static void how_far(struct conn *conn, const struct session *session) {
    bool other_words = same_nocase(http_header(&conn->request, S("x-guploader-no-308")), S("yes"));
    reply_begin(conn, other_words ? 200 : 308);
    if (other_words) text_str(&conn->out, "X-Http-Status-Code-Override: 308\r\n");
    if (session->held) text_printf(&conn->out, "Range: bytes=0-%llu\r\n", (unsigned long long)session->held - 1);
    text_str(&conn->out, "Content-Length: 0\r\n\r\n");
}

struct chunk {
    bool query, has_total;
    uint64_t first, total;
};

/* "bytes 0-524287/2000000", a total that is not known yet as an asterisk, or only asking: an asterisk for the bytes. */
static bool read_range(const struct request *request, struct chunk *chunk) {
    struct slice range = http_header(request, S("content-range"));
    uint64_t last, len = request->body ? request->body->len : 0;
    *chunk = (struct chunk){0};
    if (!range.at) {
        chunk->has_total = true;
        chunk->total = len;
        return true;
    }
    if (!starts(range, S("bytes "))) return false;
    range.at += 6, range.len -= 6;
    const char *slash = memchr(range.at, '/', range.len);
    if (!slash) return false;
    struct slice total = {slash + 1, (size_t)(range.at + range.len - slash - 1)}, bytes = {range.at, (size_t)(slash - range.at)};
    chunk->has_total = !same(total, S("*"));
    if (chunk->has_total && !to_number(total, &chunk->total)) return false;
    chunk->query = same(bytes, S("*"));
    if (chunk->query) return len == 0;
    const char *dash = memchr(bytes.at, '-', bytes.len);
    return dash && to_number((struct slice){bytes.at, (size_t)(dash - bytes.at)}, &chunk->first) &&
           to_number((struct slice){dash + 1, (size_t)(bytes.at + bytes.len - dash - 1)}, &last) && last + 1 == chunk->first + len &&
           (!chunk->has_total || last < chunk->total);
}

static void add_bytes(struct session *session, struct request *request, size_t skip, size_t len) {
    if (!len) return;
    if (session->count == session->room) {
        session->room = session->room ? session->room * 2 : 16;
        session->segments = must_realloc(session->segments, session->room * sizeof *session->segments);
    }
    struct buf *body = request->body;
    session->segments[session->count++] = (struct segment){buf_keep(body), skip, len};
    uint32_t crc32c = len == body->len ? request->crc32c : crc32c_add(0, body->data + skip, len);
    session->crc32c = crc32c_join(session->crc32c, crc32c, len);
    session->held += len;
}

static void end_session(struct conn *conn, struct gcs *gcs, struct session *session) {
    struct blob *blob = blob_new(session->count);
    for (unsigned i = 0; i < session->count; i++) {
        blob->segment[i] = session->segments[i];
        buf_keep(blob->segment[i].buf);
    }
    blob->size = session->held;
    blob->crc32c = session->crc32c;
    gcs_claims(&conn->request, &session->metadata);
    blob = gcs_stored(conn, gcs, blob, &session->metadata);
    release_bytes(session);
    if (!blob) {
        session->cancelled = true; /* refused: nothing is left to go on with */
        return;
    }
    session->whole = blob_outline(blob);
    gcs_answer(conn, gcs, blob);
}

void gcs_session_go_on(struct conn *conn, struct gcs *gcs) {
    static struct text id;
    struct request *request = &conn->request;
    struct session *session = NULL;
    struct chunk chunk;
    http_query(request, S("upload_id"), &id);
    for (size_t i = session_total; i-- && !session;)
        if (same((struct slice){id.at, id.len}, slice_of(sessions[i]->id)) && sessions[i]->bucket == gcs->bucket) session = sessions[i];
    if (!session) return gcs_error(conn, 404, "notFound", "There is no such upload.");
    gcs->key = (struct slice){session->key.at, session->key.len};
    if (session->cancelled) return gcs_error(conn, 410, "gone", "The upload is over.");
    if (same(request->method, S("DELETE"))) {
        release_bytes(session);
        session->cancelled = true;
        return reply_empty(conn, 499);
    }
    if (session->whole) return gcs_answer(conn, gcs, session->whole);
    if (!read_range(request, &chunk)) return gcs_error(conn, 400, "badRequest", "Invalid request.  Failed to parse Content-Range header.");
    size_t len = request->body ? request->body->len : 0;
    if (!chunk.query && chunk.first > session->held) return gcs_error(conn, 400, "badRequest", "Invalid request.  There is a gap before this chunk.");
    size_t skip = chunk.query || session->held - chunk.first > len ? len : (size_t)(session->held - chunk.first);
    uint64_t reached = session->held + (len - skip);
    bool last = chunk.has_total && reached == chunk.total;
    uint64_t kept = last ? reached : reached / MULTIPLE * MULTIPLE;
    add_bytes(session, request, skip, kept > session->held ? (size_t)(kept - session->held) : 0);
    if (last) end_session(conn, gcs, session);
    else how_far(conn, session);
}
