/* What the parts of the benchmark server share: bytes, stored objects, requests and connections.
 *
 * One thread, everything in memory. Bytes of a body are received into the `buf` in which they then stay: an object is a list of
 * segments of such buffers, so that neither a multipart upload nor a copy moves a byte.
 */
#ifndef BENCH_TYPES_H
#define BENCH_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice {
    const char *at;
    size_t len;
};

/* Bytes that grow at the end: replies, and whatever is built piece by piece. */
struct text {
    char *at;
    size_t len, cap;
};

/* Bytes that stay: shared by reference count. */
struct buf {
    unsigned refs;
    size_t len, cap;
    char data[];
};

struct segment {
    struct buf *buf;
    size_t at, len;
};

/* One version of an object. `fields` holds name\0value\0 pairs: content-type and its kin, and user metadata as "meta:NAME". */
struct blob {
    unsigned refs;
    unsigned segments;
    uint64_t size, generation;
    int64_t seconds;
    uint32_t crc32c;
    bool tells_crc32c; /* S3 returns a checksum only of objects that were written with one */
    bool has_md5;
    unsigned char md5[16];
    char etag[48];
    char *fields;
    size_t fields_len;
    struct segment segment[];
};

/* A key, for as long as its bucket is not emptied; a deleted object leaves its entry behind without a blob. */
struct entry {
    uint64_t hash;
    struct blob *blob;
    uint32_t len;
    char key[];
};

struct bucket {
    char *name;
    uint64_t synthetic; /* keys that it pretends to have; 0: an ordinary bucket */
    bool created;
    struct entry **slots; /* open addressing, a power of two */
    size_t mask, entries;
    struct entry **sorted; /* the first `ordered` are in order of their bytes, the rest came later */
    size_t listed, ordered, room;
    uint64_t writes; /* objects written since it was emptied: more than its objects means that some were written twice */
};

#define MOST_HEADERS 96

struct header {
    struct slice name, value; /* the name in lower case */
};

struct request {
    struct slice method, path, query; /* path and query as sent, still percent-encoded */
    struct header headers[MOST_HEADERS];
    unsigned count;
    bool keep_alive, chunked, aws_chunked, expect;
    uint64_t length;
    struct buf *body;      /* NULL: there was none */
    uint32_t crc32c;       /* of the body, when it was counted on the way in */
    struct slice trailers; /* lines behind an aws-chunked body */
};

/* Takes "hex-size[;extension]\r\n data \r\n ... 0\r\n trailers \r\n" apart: HTTP's chunks, and those that AWS puts inside them. */
struct dechunker {
    int state;
    uint64_t left;
    struct text line, trailers;
};

enum conn_state { READ_HEAD, READ_BODY, HELD, WRITE };

struct conn {
    int fd;
    void *tls;
    enum conn_state state;
    bool readable, ended, dead, queued, close_after, reset, counts;
    struct text in;   /* received and not yet understood */
    struct text head; /* of the request whose body is on its way */
    struct request request;
    uint64_t wire_left; /* of a body with a length */
    struct dechunker http_chunks, aws_chunks;
    struct text out; /* what goes out first */
    size_t out_sent;
    struct blob *blob; /* and the bytes that follow it */
    uint64_t from, left;
    int64_t due;
    struct conn *next;
};

extern const struct slice NOTHING;
#define S(literal) ((struct slice){"" literal, sizeof(literal) - 1})

#endif
