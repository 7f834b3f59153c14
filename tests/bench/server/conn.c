/* A connection: one request at a time, received, answered, held back if a delay is set, and sent.
 *
 * epoll reports edges, so a connection runs until the socket says "again" or its turn is over. What was received beyond a request
 * waits in `in` (pipelining). An answer never blocks the thread: what the socket does not take is sent when it has room.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server.h"

enum {
    SCRATCH = 256 * 1024,
    LARGEST_HEAD = 64 * 1024,
    BODY_READ = 256 * 1024, /* small enough to be still in the processor's cache when it is hashed */
    TURN = 4 * 1024 * 1024, /* bytes after which the others have their turn */
    TLS_JOIN = 16 * 1024,
};

static char scratch[SCRATCH];

struct conn *conn_new(int fd, void *tls) {
    struct conn *conn = must_alloc(sizeof *conn);
    memset(conn, 0, sizeof *conn);
    conn->fd = fd;
    conn->tls = tls;
    conn->readable = true;
    stats.connections++;
    stats.open++;
    return conn;
}

static void forget_answer(struct conn *conn) {
    if (conn->blob) blob_drop(conn->blob);
    conn->blob = NULL;
    conn->left = 0;
    conn->out.len = conn->out_sent = 0;
}

void conn_free(struct conn *conn) {
    forget_answer(conn);
    body_forget(conn);
    struct text *texts[] = {&conn->in, &conn->head, &conn->out, &conn->http_chunks.line, &conn->http_chunks.trailers,
                            &conn->aws_chunks.line, &conn->aws_chunks.trailers};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) free(texts[i]->at);
    free(conn);
}

static void finish(struct conn *conn) {
    if (conn->dead) return;
    conn->dead = true;
    if (conn->reset) {
        struct linger at_once = {.l_onoff = 1};
        setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    if (conn->tls) tls_free(conn->tls);
    close(conn->fd);
    stats.open--;
    if (conn->state != HELD) bury(conn); /* a held one is still in the timer's heap and buried when it is due */
}

/* Bytes received, 0 for none yet, -1 when there will be no more. */
static ssize_t receive(struct conn *conn, void *into, size_t room) {
    if (!conn->readable) return 0;
    ssize_t got = conn->tls ? tls_read(conn->tls, into, room) : recv(conn->fd, into, room, 0);
    if (got > 0) {
        stats.bytes_in += (uint64_t)got;
        /* Less than there was room for: the socket is empty, and an edge will tell of more. */
        if ((size_t)got < room && !conn->ended && (!conn->tls || tls_drained(conn->tls))) conn->readable = false;
        return got;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (errno == EAGAIN) conn->readable = false;
        return 0;
    }
    return -1;
}

/* Puts the first bytes and what follows them into records as full as they can be: one write per small answer. */
static ssize_t transmit_tls(struct conn *conn, const struct iovec *iov, int count) {
    static char joined[TLS_JOIN];
    if (count == 1 || iov[0].iov_len >= TLS_JOIN) return tls_write(conn->tls, iov[0].iov_base, iov[0].iov_len);
    size_t len = 0;
    for (int i = 0; i < count && len < TLS_JOIN; i++) {
        size_t take = iov[i].iov_len < TLS_JOIN - len ? iov[i].iov_len : TLS_JOIN - len;
        memcpy(joined + len, iov[i].iov_base, take);
        len += take;
    }
    return tls_write(conn->tls, joined, len);
}

/* False when the socket takes no more for now or ever. */
static bool transmit(struct conn *conn, size_t *budget) {
    while (conn->out_sent < conn->out.len || conn->left) {
        struct iovec iov[16];
        int count = 0;
        size_t head = conn->out.len - conn->out_sent;
        if (head) iov[count++] = (struct iovec){conn->out.at + conn->out_sent, head};
        if (conn->left) count += blob_iov(conn->blob, conn->from, conn->left < TURN ? conn->left : TURN, iov + count, 15);
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
        ssize_t sent = conn->tls ? transmit_tls(conn, iov, count) : sendmsg(conn->fd, &message, MSG_NOSIGNAL);
        if (sent <= 0) {
            if (sent < 0 && errno != EAGAIN && errno != EINTR) finish(conn);
            return false;
        }
        stats.bytes_out += (uint64_t)sent;
        size_t of_head = (size_t)sent < head ? (size_t)sent : head;
        conn->out_sent += of_head;
        conn->from += (size_t)sent - of_head;
        conn->left -= (size_t)sent - of_head;
        *budget = *budget > (size_t)sent ? *budget - (size_t)sent : 0;
        if (!*budget && (conn->out_sent < conn->out.len || conn->left)) {
            run_again(conn);
            return false;
        }
    }
    return true;
}

/* The share of requests that fails on purpose: half before they had an effect, half after it, by losing the answer. */
static bool refuses(struct conn *conn, bool gcs, bool *lose_answer) {
    *lose_answer = false;
    if (settings.fail_percent <= 0 || (double)(next_random() % 1000000) >= settings.fail_percent * 10000) return false;
    stats.failed++;
    if (next_random() & 1) {
        *lose_answer = true;
        return false;
    }
    if (gcs) gcs_error(conn, 503, "backendError", "A failure that was asked for.");
    else s3_error(conn, 503, "SlowDown", "Please reduce your request rate.");
    return true;
}

static void answer(struct conn *conn) {
    struct request *request = &conn->request;
    forget_answer(conn);
    stats.requests++;
    conn->close_after = !request->keep_alive;
    conn->reset = false;
    bool control = starts(request->path, S("/_")), lose = false;
    bool gcs = starts(request->path, S("/storage/v1/")) || starts(request->path, S("/upload/storage/v1/")) ||
               starts(request->path, S("/download/storage/v1/"));
    if (control) control_handle(conn);
    else if (!refuses(conn, gcs, &lose)) gcs ? gcs_handle(conn) : s3_handle(conn);
    if (lose) {
        forget_answer(conn);
        conn->close_after = conn->reset = true;
    }
    body_forget(conn);
    conn->state = WRITE;
    if (!control && settings.delay_ms > 0) {
        conn->state = HELD;
        conn->due = now_ns() + (int64_t)(settings.delay_ms * 1e6);
        hold(conn);
    }
}

static void refuse(struct conn *conn) {
    conn->request.keep_alive = false;
    conn->request.method = NOTHING;
    body_forget(conn);
    s3_error(conn, 400, "BadRequest", "This is not an HTTP request that can be understood.");
    conn->close_after = true;
    conn->state = WRITE;
}

/* Takes what it can of `bytes`; returns how much. */
static size_t take(struct conn *conn, char *bytes, size_t len) {
    size_t used = 0;
    bool done = false;
    if (conn->state == READ_HEAD) {
        enum parsed parsed = http_parse(&conn->request, bytes, len, &used);
        if (parsed == BAD || (parsed == MORE && len > LARGEST_HEAD)) return refuse(conn), len;
        if (parsed == MORE) return 0;
        struct request *request = &conn->request;
        if (!request->chunked && !request->length) return answer(conn), used;
        bool whole = !request->chunked && !request->aws_chunked && request->length <= len - used;
        if (!whole) { /* the request's words must outlive `bytes` */
            conn->head.len = 0;
            text_add(&conn->head, bytes, used);
            size_t again;
            http_parse(request, conn->head.at, conn->head.len, &again);
            if (request->expect && used == len) {
                static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
                ssize_t sent = conn->tls ? tls_write(conn->tls, go_on, sizeof go_on - 1)
                                         : send(conn->fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL);
                if (sent != (ssize_t)sizeof go_on - 1) return finish(conn), len;
            }
        }
        conn->state = READ_BODY;
        body_begin(conn);
        if (used == len) return used;
    }
    size_t of_body = 0;
    if (!body_feed(conn, bytes + used, len - used, &of_body, &done)) return refuse(conn), len;
    if (done) answer(conn);
    return used + of_body;
}

static void keep(struct conn *conn, const char *bytes, size_t len) {
    conn->in.len = 0;
    text_add(&conn->in, bytes, len);
}

/* Goes on with what was received before. Whatever cannot be understood yet stays. */
static void take_kept(struct conn *conn) {
    size_t at = 0;
    while (at < conn->in.len && (conn->state == READ_HEAD || conn->state == READ_BODY) && !conn->dead) {
        size_t used = take(conn, conn->in.at + at, conn->in.len - at);
        at += used;
        if (!used) break;
    }
    memmove(conn->in.at, conn->in.at + at, conn->in.len - at);
    conn->in.len -= at;
}

static bool read_some(struct conn *conn, size_t *budget) {
    ssize_t got;
    if (conn->state == READ_BODY && body_is_direct(conn)) {
        struct buf *body = conn->request.body;
        size_t room = conn->wire_left < BODY_READ ? (size_t)conn->wire_left : BODY_READ;
        got = receive(conn, body->data + body->len, room);
        if (got > 0) {
            body_received(conn, (size_t)got);
            if (!conn->wire_left) answer(conn);
        }
    } else {
        got = receive(conn, scratch, SCRATCH);
        if (got > 0 && conn->in.len) {
            text_add(&conn->in, scratch, (size_t)got);
            take_kept(conn);
        } else if (got > 0) {
            size_t used = 0, more = 1;
            while (used < (size_t)got && more && (conn->state == READ_HEAD || conn->state == READ_BODY) && !conn->dead)
                used += more = take(conn, scratch + used, (size_t)got - used);
            if (used < (size_t)got) keep(conn, scratch + used, (size_t)got - used);
        }
    }
    if (got < 0) finish(conn);
    if (got > 0) *budget = *budget > (size_t)got ? *budget - (size_t)got : 0;
    return got > 0;
}

void conn_run(struct conn *conn) {
    size_t budget = TURN;
    while (!conn->dead && conn->state != HELD) {
        if (!budget) return run_again(conn);
        if (conn->state == WRITE) {
            if (!transmit(conn, &budget)) return;
            if (conn->close_after) return finish(conn);
            forget_answer(conn);
            conn->state = READ_HEAD;
            if (conn->in.len) take_kept(conn);
        } else if (!read_some(conn, &budget)) {
            return;
        }
    }
}
