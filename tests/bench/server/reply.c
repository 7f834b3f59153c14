/* Replies: the head and a small body as text, the bytes of an object by reference. */
#include <string.h>

#include "server.h"

static const char *reason(int status) {
    switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 304: return "Not Modified";
    case 308: return "Resume Incomplete";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 409: return "Conflict";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 416: return "Range Not Satisfiable";
    case 499: return "Client Closed Request";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    default: return "Answer";
    }
}

void reply_begin(struct conn *conn, int status) {
    struct text *out = &conn->out;
    out->len = 0;
    text_str(out, "HTTP/1.1 ");
    text_number(out, (uint64_t)status);
    text_str(out, " ");
    text_str(out, reason(status));
    text_str(out, "\r\nServer: bench\r\nDate: ");
    text_http_date(out, now_seconds());
    text_str(out, conn->request.keep_alive ? "\r\n" : "\r\nConnection: close\r\n");
}

void reply_field(struct conn *conn, const char *name, struct slice value) {
    text_str(&conn->out, name);
    text_str(&conn->out, ": ");
    text_slice(&conn->out, value);
    text_str(&conn->out, "\r\n");
}

void reply_number(struct conn *conn, const char *name, uint64_t value) {
    text_str(&conn->out, name);
    text_str(&conn->out, ": ");
    text_number(&conn->out, value);
    text_str(&conn->out, "\r\n");
}

bool reply_is_head(const struct conn *conn) { return same(conn->request.method, S("HEAD")); }

void reply_body(struct conn *conn, const char *type, struct slice body) {
    reply_field(conn, "Content-Type", slice_of(type));
    reply_number(conn, "Content-Length", body.len);
    text_str(&conn->out, "\r\n");
    if (!reply_is_head(conn)) text_slice(&conn->out, body);
}

void reply_empty(struct conn *conn, int status) {
    reply_begin(conn, status);
    text_str(&conn->out, status == 204 || status == 304 ? "\r\n" : "Content-Length: 0\r\n\r\n");
}

void reply_blob(struct conn *conn, struct blob *blob, uint64_t from, uint64_t len) {
    reply_number(conn, "Content-Length", len);
    text_str(&conn->out, "\r\n");
    if (reply_is_head(conn) || !len) return;
    conn->blob = blob_keep(blob);
    conn->from = from;
    conn->left = len;
}
