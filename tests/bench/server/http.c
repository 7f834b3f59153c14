/* The head of a request: its line, its headers, its query. */
#include <string.h>

#include "server.h"

static struct slice trimmed(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t')) at++;
    while (end > at && (end[-1] == ' ' || end[-1] == '\t')) end--;
    return (struct slice){at, (size_t)(end - at)};
}

static bool request_line(struct request *request, const char *at, const char *end) {
    const char *space = memchr(at, ' ', (size_t)(end - at));
    if (!space || end - at < 14) return false;
    request->method = (struct slice){at, (size_t)(space - at)};
    const char *version = end - 8;
    if (memcmp(version, "HTTP/1.", 7) || version[-1] != ' ') return false;
    request->keep_alive = version[7] == '1';
    const char *target = space + 1, *stop = version - 1;
    if (target >= stop) return false;
    if (*target != '/') { /* a whole URL, as proxies are asked */
        const char *scheme = memmem(target, (size_t)(stop - target), "://", 3);
        const char *slash = scheme ? memchr(scheme + 3, '/', (size_t)(stop - scheme - 3)) : NULL;
        if (!slash) return false;
        target = slash;
    }
    const char *mark = memchr(target, '?', (size_t)(stop - target));
    request->path = (struct slice){target, (size_t)((mark ? mark : stop) - target)};
    request->query = mark ? (struct slice){mark + 1, (size_t)(stop - mark - 1)} : NOTHING;
    return true;
}

/* What the framing of the body and of the connection depends on. */
static bool understand(struct request *request, const struct header *header) {
    struct slice name = header->name, value = header->value;
    switch (name.len) {
    case 14: return !same(name, S("content-length")) || to_number(value, &request->length);
    case 17:
        if (same(name, S("transfer-encoding"))) {
            request->chunked = same_nocase(value, S("chunked"));
            return request->chunked;
        }
        return true;
    case 10:
        if (same(name, S("connection")) && same_nocase(value, S("close"))) request->keep_alive = false;
        return true;
    case 6:
        if (same(name, S("expect"))) request->expect = same_nocase(value, S("100-continue"));
        return true;
    case 20: /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD[-TRAILER], STREAMING-UNSIGNED-PAYLOAD-TRAILER */
        if (same(name, S("x-amz-content-sha256")) && starts(value, S("STREAMING-"))) request->aws_chunked = true;
        return true;
    case 16:
        if (same(name, S("content-encoding")) && find(value, S("aws-chunked"))) request->aws_chunked = true;
        return true;
    default: return true;
    }
}

static bool header_line(struct request *request, char *at, char *end) {
    char *colon = memchr(at, ':', (size_t)(end - at));
    if (!colon || colon == at || request->count == MOST_HEADERS) return false;
    for (char *c = at; c < colon; c++)
        if (*c >= 'A' && *c <= 'Z') *c |= 0x20;
    struct header *header = &request->headers[request->count++];
    header->name = (struct slice){at, (size_t)(colon - at)};
    header->value = trimmed(colon + 1, end);
    return understand(request, header);
}

enum parsed http_parse(struct request *request, char *head, size_t len, size_t *used) {
    char *limit = head + len, *at = head;
    while (at < limit && (*at == '\r' || *at == '\n')) at++; /* some clients end a body with a line break too many */
    char *start = at, *end = memmem(at, (size_t)(limit - at), "\r\n\r\n", 4);
    if (!end) return MORE;
    *used = (size_t)(end + 4 - head);
    struct buf *body = request->body;
    request->count = 0;
    request->chunked = request->aws_chunked = request->expect = false;
    request->length = 0;
    request->body = body;
    request->trailers = NOTHING;
    bool first = true;
    for (at = start; at < end;) {
        char *stop = memmem(at, (size_t)(end + 2 - at), "\r\n", 2);
        if (first ? !request_line(request, at, stop) : !header_line(request, at, stop)) return BAD;
        first = false;
        at = stop + 2;
    }
    return first ? BAD : PARSED;
}

struct slice http_header(const struct request *request, struct slice name) {
    for (unsigned i = 0; i < request->count; i++)
        if (same(request->headers[i].name, name)) return request->headers[i].value;
    return (struct slice){NULL, 0};
}

struct slice http_query_raw(const struct request *request, struct slice name) {
    const char *at = request->query.at, *end = at + request->query.len;
    while (at < end) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        if (!stop) stop = end;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        const char *name_end = equals ? equals : stop;
        if (same((struct slice){at, (size_t)(name_end - at)}, name))
            return equals ? (struct slice){equals + 1, (size_t)(stop - equals - 1)} : NOTHING;
        at = stop + 1;
    }
    return (struct slice){NULL, 0};
}

bool http_query(const struct request *request, struct slice name, struct text *value) {
    struct slice raw = http_query_raw(request, name);
    value->len = 0;
    if (!raw.at) return false;
    unescape_url(value, raw, true);
    return true;
}
