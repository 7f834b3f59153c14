/* TLS through OpenSSL where its headers are there at build time (BENCH_TLS); without them the server says that it has none.
 *
 * As the clouds have it: the server's order of ciphers, AES-128 first, a certificate on P-256 (serve.py makes it), tickets for
 * sessions that are to be resumed. Records are gathered and written together: OpenSSL alone makes a system call for each.
 */
#include <errno.h>

#include "server.h"

#ifdef BENCH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { RECORD = 16 * 1024, GATHERED = 256 * 1024, ROOM = GATHERED + 64 * 1024 };

struct tls {
    SSL *ssl;
    int fd;
    bool drained;    /* the last read found less than it had room for */
    struct text out; /* encrypted, and not taken by the socket yet */
    size_t out_sent;
    size_t accepted; /* bytes of the caller's that are in `out`: told when they have left */
};

static SSL_CTX *context;
static BIO_METHOD *wire;
static char gathered[ROOM]; /* of the call under way: nothing is in it between calls */
static size_t gathered_len;

static int wire_read(BIO *bio, char *into, int room) {
    struct tls *tls = BIO_get_data(bio);
    ssize_t got = recv(tls->fd, into, (size_t)room, 0);
    BIO_clear_retry_flags(bio);
    tls->drained = got < room;
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
    return (int)got;
}

static int wire_write(BIO *bio, const char *bytes, int len) {
    BIO_clear_retry_flags(bio);
    if ((size_t)len > ROOM - gathered_len) return BIO_set_retry_write(bio), -1;
    memcpy(gathered + gathered_len, bytes, (size_t)len);
    gathered_len += (size_t)len;
    return len;
}

static long wire_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int choose_http1(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in, unsigned in_len, void *arg) {
    static const unsigned char offer[] = "\x08http/1.1";
    (void)ssl, (void)arg;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, len, offer, sizeof offer - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

bool tls_setup(const char *certificate, const char *key) {
    wire = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");
    BIO_meth_set_read(wire, wire_read);
    BIO_meth_set_write(wire, wire_write);
    BIO_meth_set_ctrl(wire, wire_control);
    context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"bench", 5);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* a ticket holds all there is to a session */
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, 64 * 1024);
    SSL_CTX_set_alpn_select_cb(context, choose_http1, NULL);
    return key && SSL_CTX_use_certificate_chain_file(context, certificate) == 1 &&
           SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1;
}

bool tls_on(void) { return context != NULL; }

uint64_t tls_handshakes(void) { return context ? (uint64_t)SSL_CTX_sess_accept_good(context) : 0; }

uint64_t tls_resumed(void) { return context ? (uint64_t)SSL_CTX_sess_hits(context) : 0; }

void *tls_new(int fd) {
    struct tls *tls = must_alloc(sizeof *tls);
    memset(tls, 0, sizeof *tls);
    tls->fd = fd;
    tls->ssl = SSL_new(context);
    BIO *bio = BIO_new(wire);
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_accept_state(tls->ssl);
    return tls;
}

void tls_free(void *it) {
    struct tls *tls = it;
    SSL_set_quiet_shutdown(tls->ssl, 1);
    SSL_free(tls->ssl);
    free(tls->out.at);
    free(tls);
    ERR_clear_error();
}

/* 1: everything has left, 0: the socket takes no more for now, -1: it never will. */
static int flush(struct tls *tls) {
    while (tls->out_sent < tls->out.len) {
        ssize_t sent = send(tls->fd, tls->out.at + tls->out_sent, tls->out.len - tls->out_sent, MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
        tls->out_sent += (size_t)sent;
    }
    tls->out.len = tls->out_sent = 0;
    return 1;
}

/* The same for what this call has gathered; what the socket does not take is kept. */
static int flush_gathered(struct tls *tls) {
    size_t at = 0;
    int done = flush(tls);
    while (done > 0 && at < gathered_len) {
        ssize_t sent = send(tls->fd, gathered + at, gathered_len - at, MSG_NOSIGNAL);
        if (sent < 0) done = errno == EAGAIN || errno == EINTR ? 0 : -1;
        else at += (size_t)sent;
    }
    if (done == 0) text_add(&tls->out, gathered + at, gathered_len - at);
    gathered_len = 0;
    return done;
}

static ssize_t result(SSL *ssl, int got) {
    int error = SSL_get_error(ssl, got);
    ERR_clear_error();
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
    return -1;
}

/* True when nothing is left to be read until the socket tells of more. */
bool tls_drained(void *it) {
    struct tls *tls = it;
    return tls->drained && !SSL_has_pending(tls->ssl);
}

ssize_t tls_read(void *it, void *bytes, size_t len) {
    struct tls *tls = it;
    int got = SSL_read(tls->ssl, bytes, (int)(len < 1 << 30 ? len : 1 << 30));
    ssize_t told = got > 0 ? got : result(tls->ssl, got);
    int kept = errno;
    if (flush_gathered(tls) < 0) return errno = EPIPE, -1; /* handshakes answer from within a read */
    return errno = kept, told;
}

/* How many bytes have been encrypted and have left; the same bytes are to be offered again after EAGAIN. */
ssize_t tls_write(void *it, const void *bytes, size_t len) {
    struct tls *tls = it;
    while (!tls->out.len && tls->accepted < len && gathered_len < GATHERED) {
        size_t left = len - tls->accepted;
        int done = SSL_write(tls->ssl, (const char *)bytes + tls->accepted, (int)(left < RECORD ? left : RECORD));
        if (done <= 0) {
            ssize_t told = result(tls->ssl, done);
            if (errno == EAGAIN && tls->accepted) break;
            gathered_len = 0;
            return told;
        }
        tls->accepted += (size_t)done;
    }
    int done = flush_gathered(tls);
    if (done <= 0) return errno = done ? EPIPE : EAGAIN, -1;
    size_t told = tls->accepted;
    tls->accepted = 0;
    return (ssize_t)told;
}
#else
bool tls_setup(const char *certificate, const char *key) { return (void)certificate, (void)key, false; }
bool tls_on(void) { return false; }
void *tls_new(int fd) { return (void)fd, NULL; }
void tls_free(void *tls) { (void)tls; }
uint64_t tls_handshakes(void) { return 0; }
uint64_t tls_resumed(void) { return 0; }
bool tls_drained(void *tls) { return (void)tls, true; }
ssize_t tls_read(void *tls, void *bytes, size_t len) { return (void)tls, (void)bytes, (void)len, errno = EPIPE, -1; }
ssize_t tls_write(void *tls, const void *bytes, size_t len) { return (void)tls, (void)bytes, (void)len, errno = EPIPE, -1; }
#endif
