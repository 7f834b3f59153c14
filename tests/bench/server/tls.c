/* TLS through OpenSSL where its headers are there at build time (BENCH_TLS); without them the server says that it has none. */
#include <errno.h>

#include "server.h"

#ifdef BENCH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

static SSL_CTX *context;

static int choose_http1(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in, unsigned in_len, void *arg) {
    static const unsigned char offer[] = "\x08http/1.1";
    (void)ssl, (void)arg;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, len, offer, sizeof offer - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

bool tls_setup(const char *certificate, const char *key) {
    context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"bench", 5);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, 64 * 1024);
    SSL_CTX_set_alpn_select_cb(context, choose_http1, NULL);
    return key && SSL_CTX_use_certificate_chain_file(context, certificate) == 1 &&
           SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1;
}

bool tls_on(void) { return context != NULL; }

void *tls_new(int fd) {
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    SSL_set_accept_state(ssl);
    return ssl;
}

void tls_free(void *tls) {
    SSL_set_quiet_shutdown(tls, 1);
    SSL_free(tls);
    ERR_clear_error();
}

static ssize_t result(SSL *ssl, int got) {
    if (got > 0) return got;
    int error = SSL_get_error(ssl, got);
    ERR_clear_error();
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
    return -1;
}

ssize_t tls_read(void *tls, void *bytes, size_t len) { return result(tls, SSL_read(tls, bytes, (int)(len < 1 << 30 ? len : 1 << 30))); }

ssize_t tls_write(void *tls, const void *bytes, size_t len) {
    return result(tls, SSL_write(tls, bytes, (int)(len < 1 << 30 ? len : 1 << 30)));
}
#else
bool tls_setup(const char *certificate, const char *key) { return (void)certificate, (void)key, false; }
bool tls_on(void) { return false; }
void *tls_new(int fd) { return (void)fd, NULL; }
void tls_free(void *tls) { (void)tls; }
ssize_t tls_read(void *tls, void *bytes, size_t len) { return (void)tls, (void)bytes, (void)len, errno = EPIPE, -1; }
ssize_t tls_write(void *tls, const void *bytes, size_t len) { return (void)tls, (void)bytes, (void)len, errno = EPIPE, -1; }
#endif
