/* The body of a request, from the wire into the buffer in which it is kept.
 *
 * A plain body of known length is received straight into that buffer. Chunks, HTTP's or those of AWS's streaming signatures or
 * both at once, are taken apart on the way.
 */
#include <string.h>

#include "server.h"

enum { SIZE_LINE, DATA, DATA_END, TRAILERS, OVER };

static const uint64_t LARGEST = 6ull << 30;

static void restart(struct dechunker *chunks) {
    chunks->state = SIZE_LINE;
    chunks->left = 0;
    chunks->line.len = chunks->trailers.len = 0;
}

/* Takes one line into chunks->line; true when it is complete, without its end. */
static bool take_line(struct dechunker *chunks, const char **at, const char *end) {
    const char *stop = memchr(*at, '\n', (size_t)(end - *at));
    text_add(&chunks->line, *at, (size_t)((stop ? stop : end) - *at));
    *at = stop ? stop + 1 : end;
    if (!stop) return false;
    if (chunks->line.len && chunks->line.at[chunks->line.len - 1] == '\r') chunks->line.len--;
    return true;
}

static bool read_size(struct dechunker *chunks) {
    uint64_t size = 0;
    size_t i = 0;
    for (; i < chunks->line.len && chunks->line.at[i] != ';' && chunks->line.at[i] != ' '; i++) {
        char c = chunks->line.at[i] | 0x20;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0 || size > LARGEST) return false;
        size = size << 4 | (uint64_t)digit;
    }
    chunks->left = size;
    chunks->state = size ? DATA : TRAILERS;
    return i > 0;
}

/* The next run of data; an empty one when the input or the body is at its end. */
static bool next_run(struct dechunker *chunks, const char **at, const char *end, struct slice *run) {
    *run = NOTHING;
    while (*at < end && chunks->state != OVER) {
        if (chunks->state == DATA) {
            size_t there = (size_t)(end - *at), len = chunks->left < there ? (size_t)chunks->left : there;
            *run = (struct slice){*at, len};
            *at += len;
            chunks->left -= len;
            if (!chunks->left) chunks->state = DATA_END;
            return true;
        }
        if (chunks->line.len > 8192 || chunks->trailers.len > 65536) return false;
        if (!take_line(chunks, at, end)) return true;
        if (chunks->state == SIZE_LINE && !read_size(chunks)) return false;
        else if (chunks->state == DATA_END && chunks->line.len) return false;
        else if (chunks->state == DATA_END) chunks->state = SIZE_LINE;
        else if (chunks->state == TRAILERS && chunks->line.len == 0) chunks->state = OVER;
        else if (chunks->state == TRAILERS && chunks->left == 0 && find((struct slice){chunks->line.at, chunks->line.len}, S(":"))) {
            text_slice(&chunks->trailers, (struct slice){chunks->line.at, chunks->line.len});
            text_str(&chunks->trailers, "\n");
        }
        chunks->line.len = 0;
    }
    return true;
}

static void store(struct conn *conn, struct slice run) {
    struct buf *body = conn->request.body;
    if (body->len + run.len > body->cap) {
        size_t cap = body->cap * 2 > body->len + run.len ? body->cap * 2 : body->len + run.len;
        body = conn->request.body = must_realloc(body, sizeof *body + cap);
        body->cap = cap;
    }
    memcpy(body->data + body->len, run.at, run.len);
    body->len += run.len;
    conn->request.crc32c = crc32c_add(conn->request.crc32c, run.at, run.len);
}

static bool unwrap(struct conn *conn, struct slice bytes) {
    if (!conn->request.aws_chunked) {
        store(conn, bytes);
        return conn->request.body->len <= LARGEST;
    }
    const char *at = bytes.at, *end = at + bytes.len;
    struct slice run;
    do {
        if (!next_run(&conn->aws_chunks, &at, end, &run)) return false;
        if (run.len) store(conn, run);
    } while (run.len);
    return true;
}

void body_begin(struct conn *conn) {
    struct request *request = &conn->request;
    uint64_t size = request->chunked ? 64 * 1024 : request->length;
    struct slice decoded = http_header(request, S("x-amz-decoded-content-length"));
    if (decoded.at) to_number(decoded, &size);
    if (size > LARGEST) size = 0; /* the request will be refused as malformed */
    request->crc32c = 0;
    request->body = buf_new((size_t)size);
    conn->wire_left = request->chunked ? 0 : request->length;
    restart(&conn->http_chunks);
    restart(&conn->aws_chunks);
}

bool body_is_direct(const struct conn *conn) { return !conn->request.chunked && !conn->request.aws_chunked; }

void body_received(struct conn *conn, size_t len) {
    struct buf *body = conn->request.body;
    conn->request.crc32c = crc32c_add(conn->request.crc32c, body->data + body->len, len);
    body->len += len;
    conn->wire_left -= len;
}

static bool finished(struct conn *conn) {
    if (!conn->request.aws_chunked) return true;
    /* With a length around them AWS's chunks may lack the last line break. */
    conn->request.trailers = (struct slice){conn->aws_chunks.trailers.at, conn->aws_chunks.trailers.len};
    return conn->aws_chunks.state == OVER || conn->aws_chunks.state == TRAILERS;
}

bool body_feed(struct conn *conn, const char *bytes, size_t len, size_t *used, bool *done) {
    *done = false;
    if (!conn->request.chunked) {
        *used = conn->wire_left < len ? (size_t)conn->wire_left : len;
        conn->wire_left -= *used;
        if (conn->request.length > LARGEST || !unwrap(conn, (struct slice){bytes, *used})) return false;
        *done = conn->wire_left == 0;
        return !*done || finished(conn);
    }
    const char *at = bytes, *end = bytes + len;
    struct slice run;
    do {
        if (!next_run(&conn->http_chunks, &at, end, &run)) return false;
        if (run.len && !unwrap(conn, run)) return false;
    } while (run.len);
    *used = (size_t)(at - bytes);
    *done = conn->http_chunks.state == OVER;
    return !*done || finished(conn);
}

void body_forget(struct conn *conn) {
    if (conn->request.body) buf_drop(conn->request.body);
    conn->request.body = NULL;
}
