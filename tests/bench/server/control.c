/* What the bench asks for itself: fill and empty a bucket, compare two, read the counters, change the settings. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "server.h"

static void json_answer(struct conn *conn, int status, struct text *json) {
    reply_begin(conn, status);
    reply_body(conn, "application/json", (struct slice){json->at, json->len});
    free(json->at);
}

static void complain(struct conn *conn, int status, const char *message) {
    struct text json = {0};
    text_str(&json, "{\"error\":");
    text_json(&json, slice_of(message));
    text_str(&json, "}");
    json_answer(conn, status, &json);
}

static uint64_t number_in_query(const struct request *request, struct slice name, uint64_t otherwise) {
    uint64_t number;
    return to_number(http_query_raw(request, name), &number) ? number : otherwise;
}

/* Bytes that depend on the key alone and do not compress. */
static void pseudo_random(struct slice key, char *into, size_t len) {
    uint64_t state = 0x9e3779b97f4a7c15ull ^ key.len, word;
    for (size_t i = 0; i < key.len; i++) state = (state ^ (unsigned char)key.at[i]) * 0x100000001b3ull;
    state |= 1;
    for (size_t at = 0; at < len; at += 8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word = state * 0x2545f4914f6cdd1dull;
        memcpy(into + at, &word, len - at < 8 ? len - at : 8);
    }
}

static void fill(struct conn *conn) {
    struct request *request = &conn->request;
    struct text name = {0}, prefix = {0}, key = {0}, json = {0};
    http_query(request, S("bucket"), &name);
    http_query(request, S("prefix"), &prefix);
    uint64_t count = number_in_query(request, S("count"), 0), size = number_in_query(request, S("size"), 0);
    if (!name.len || count > 100000000) {
        complain(conn, 400, "fill?bucket=B&count=N&size=S&prefix=P");
    } else {
        struct bucket *bucket = bucket_make((struct slice){name.at, name.len});
        for (uint64_t i = 0; i < count; i++) {
            key.len = 0;
            text_slice(&key, (struct slice){prefix.at, prefix.len});
            text_printf(&key, "%08llu", (unsigned long long)i);
            struct slice whole = {key.at, key.len};
            struct buf *buf = buf_new(size);
            pseudo_random(whole, buf->data, buf->len = size);
            struct blob *blob = blob_of(buf, 0, size, crc32c_add(0, buf->data, size));
            buf_drop(buf);
            blob->tells_crc32c = true;
            blob_tag(blob, true);
            bucket_put(bucket, whole, blob);
        }
        text_printf(&json, "{\"objects\":%llu,\"bytes\":%llu}", (unsigned long long)count, (unsigned long long)(count * size));
        json_answer(conn, 200, &json);
    }
    free(name.at);
    free(prefix.at);
    free(key.at);
}

static struct bucket *bucket_in_query(const struct request *request, struct slice parameter) {
    static struct text name;
    return http_query(request, parameter, &name) ? bucket_find((struct slice){name.at, name.len}) : NULL;
}

static void drop(struct conn *conn) {
    struct bucket *bucket = bucket_in_query(&conn->request, S("bucket"));
    if (!bucket) return complain(conn, 404, "there is no such bucket");
    uint64_t objects = 0;
    for (size_t i = 0; i < bucket->listed; i++) objects += bucket->sorted[i]->blob != NULL;
    bucket_empty(bucket);
    struct text json = {0};
    text_printf(&json, "{\"objects\":%llu}", (unsigned long long)objects);
    json_answer(conn, 200, &json);
}

static void verify(struct conn *conn) {
    struct bucket *from = bucket_in_query(&conn->request, S("from")), *to = bucket_in_query(&conn->request, S("to"));
    if (!from || !to) return complain(conn, 404, "there is no such bucket");
    uint64_t objects = 0, equal = 0, missing = 0, extra = 0;
    for (size_t i = 0; i < from->listed; i++) {
        struct entry *entry = from->sorted[i];
        if (!entry->blob) continue;
        struct blob *other = bucket_get(to, (struct slice){entry->key, entry->len});
        objects++;
        missing += !other;
        equal += other && blob_equal(entry->blob, other);
    }
    for (size_t i = 0; i < to->listed; i++) {
        struct entry *entry = to->sorted[i];
        extra += entry->blob && !bucket_get(from, (struct slice){entry->key, entry->len});
    }
    struct text json = {0};
    text_printf(&json, "{\"objects\":%llu,\"equal\":%llu,\"missing\":%llu,\"different\":%llu,\"extra\":%llu,\"writes\":%llu}",
                (unsigned long long)objects, (unsigned long long)equal, (unsigned long long)missing,
                (unsigned long long)(objects - equal - missing), (unsigned long long)extra, (unsigned long long)to->writes);
    json_answer(conn, 200, &json);
}

/* Touches so much memory now. The process keeps what it frees, so that no run pays for the first touch of a page, which on a
 * virtual machine costs more than receiving the bytes. */
static void reserve(struct conn *conn) {
    enum { PIECE = 64 << 20 };
    uint64_t pieces = number_in_query(&conn->request, S("bytes"), 0) / PIECE + 1;
    void **held = must_alloc(pieces * sizeof *held);
    for (uint64_t i = 0; i < pieces; i++) memset(held[i] = must_alloc(PIECE), 1, PIECE);
    for (uint64_t i = pieces; i--;) free(held[i]);
    free(held);
    struct text json = {0};
    text_printf(&json, "{\"bytes\":%llu}", (unsigned long long)(pieces * PIECE));
    json_answer(conn, 200, &json);
}

static void tell_stats(struct conn *conn) {
    struct rusage usage;
    struct text json = {0};
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    text_printf(&json, "{\"cpu_seconds\":%.6f,\"peak_rss_kib\":%ld", cpu, usage.ru_maxrss);
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        {"requests", stats.requests},   {"puts", stats.puts},           {"gets", stats.gets},
        {"heads", stats.heads},         {"lists", stats.lists},         {"failed", stats.failed},       {"bytes_in", stats.bytes_in},
        {"bytes_out", stats.bytes_out}, {"connections", stats.connections}, {"open", stats.open},
        {"handshakes", tls_handshakes()}, {"resumed", tls_resumed()},
    };
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        text_printf(&json, ",\"%s\":%llu", counters[i].name, (unsigned long long)counters[i].value);
    text_str(&json, "}");
    json_answer(conn, 200, &json);
}

static void configure(struct conn *conn) {
    struct text value = {0}, json = {0};
    if (http_query(&conn->request, S("delay_ms"), &value)) text_add(&value, "", 1), settings.delay_ms = atof(value.at);
    if (http_query(&conn->request, S("fail_percent"), &value)) text_add(&value, "", 1), settings.fail_percent = atof(value.at);
    if (http_query(&conn->request, S("md5"), &value)) {
        struct slice mode = {value.at, value.len};
        settings.md5 = same(mode, S("always")) ? MD5_ALWAYS : same(mode, S("never")) ? MD5_NEVER : MD5_CLAIMED;
    }
    free(value.at);
    static const char *const modes[] = {"claimed", "always", "never"};
    text_printf(&json, "{\"delay_ms\":%g,\"fail_percent\":%g,\"md5\":\"%s\"}", settings.delay_ms, settings.fail_percent,
                modes[settings.md5]);
    json_answer(conn, 200, &json);
}

bool control_handle(struct conn *conn) {
    struct slice path = conn->request.path;
    stats.requests--; /* not part of what is measured */
    if (same(path, S("/_fill"))) fill(conn);
    else if (same(path, S("/_drop"))) drop(conn);
    else if (same(path, S("/_reserve"))) reserve(conn);
    else if (same(path, S("/_verify"))) verify(conn);
    else if (same(path, S("/_stats"))) tell_stats(conn);
    else if (same(path, S("/_config"))) configure(conn);
    else complain(conn, 404, "_fill, _drop, _verify, _reserve, _stats or _config");
    return true;
}
