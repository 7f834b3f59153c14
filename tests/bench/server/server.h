/* The functions that the parts of the benchmark server offer one another, file by file. */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <sys/types.h>
#include <sys/uio.h>

#include "types.h"

/* text.c */
void *must_alloc(size_t size);
void *must_realloc(void *old, size_t size);
void text_room(struct text *text, size_t more);
void text_add(struct text *text, const void *bytes, size_t len);
void text_str(struct text *text, const char *str);
void text_slice(struct text *text, struct slice slice);
void text_number(struct text *text, uint64_t number);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_hex(struct text *text, const void *bytes, size_t len);
void text_base64(struct text *text, const void *bytes, size_t len);
void text_xml(struct text *text, struct slice slice);
void text_json(struct text *text, struct slice slice);
void text_url(struct text *text, struct slice slice);
void text_iso(struct text *text, int64_t seconds);
void text_http_date(struct text *text, int64_t seconds);
void text_crc32c(struct text *text, uint32_t crc32c);
struct slice slice_of(const char *str);
bool same(struct slice a, struct slice b);
bool same_nocase(struct slice a, struct slice b);
bool starts(struct slice whole, struct slice with);
int compare(struct slice a, struct slice b);
const char *find(struct slice in, struct slice what);
bool to_number(struct slice digits, uint64_t *number);
void unescape_url(struct text *into, struct slice from, bool plus_is_space);
bool unhex(struct text *into, struct slice from);
size_t unbase64(struct slice from, unsigned char *into, size_t room);
bool read_crc32c(struct slice base64, uint32_t *crc32c);

/* crc32c.c */
void crc32c_setup(void);
uint32_t crc32c_add(uint32_t crc, const void *bytes, size_t len);
uint32_t crc32c_join(uint32_t first, uint32_t second, uint64_t second_len);

/* md5.c */
struct md5 {
    uint32_t state[4];
    uint64_t count;
    unsigned char block[64];
};
void md5_begin(struct md5 *md5);
void md5_add(struct md5 *md5, const void *bytes, size_t len);
void md5_end(struct md5 *md5, unsigned char digest[16]);

/* http.c */
enum parsed { PARSED, MORE, BAD };
enum parsed http_parse(struct request *request, char *head, size_t len, size_t *used);
struct slice http_header(const struct request *request, struct slice name);
bool http_query(const struct request *request, struct slice name, struct text *value); /* decoded; false: not there */
struct slice http_query_raw(const struct request *request, struct slice name);

/* body.c */
void body_begin(struct conn *conn);
bool body_feed(struct conn *conn, const char *bytes, size_t len, size_t *used, bool *done); /* false: it is malformed */
bool body_is_direct(const struct conn *conn);
void body_received(struct conn *conn, size_t len);
void body_forget(struct conn *conn);

/* store.c */
struct buf *buf_new(size_t cap);
struct buf *buf_keep(struct buf *buf);
void buf_drop(struct buf *buf);
struct blob *blob_new(unsigned segments);
struct blob *blob_of(struct buf *buf, size_t at, size_t len, uint32_t crc32c);
struct blob *blob_share(const struct blob *old); /* a new version of the same bytes and fields */
struct blob *blob_outline(const struct blob *old); /* without the bytes: they go when the bucket is emptied */
struct blob *blob_keep(struct blob *blob);
void blob_drop(struct blob *blob);
void blob_md5(struct blob *blob);
void blob_tag(struct blob *blob, bool want_md5);
void blob_field(struct text *fields, struct slice name, struct slice value);
struct slice blob_get(const struct blob *blob, struct slice name);
int blob_iov(const struct blob *blob, uint64_t from, uint64_t len, struct iovec *iov, int room);
bool blob_equal(const struct blob *a, const struct blob *b);
struct bucket *bucket_find(struct slice name);
struct bucket *bucket_make(struct slice name);
bool bucket_remove(struct bucket *bucket);
void bucket_empty(struct bucket *bucket);
size_t bucket_count(void);
struct bucket *bucket_at(size_t number);
struct blob *bucket_get(struct bucket *bucket, struct slice key);
void bucket_put(struct bucket *bucket, struct slice key, struct blob *blob); /* takes over the reference */
void bucket_delete(struct bucket *bucket, struct slice key);

/* listing.c */
struct item {
    struct slice key;
    bool is_prefix;
    uint64_t size, generation;
    int64_t seconds;
    const char *etag;
    const struct blob *blob; /* NULL for a prefix and for what a synthetic bucket makes up */
};
struct listing {
    struct bucket *bucket;
    struct slice prefix, delimiter, after, from, until; /* after: behind this key; from, until: GCS's half-open range */
    uint64_t most;
    uint64_t at;
    bool truncated;
    struct text last, scratch; /* `last` names the last item: the next page goes on behind it */
    char etag[40];
};
void listing_open(struct listing *listing);
bool listing_next(struct listing *listing, struct item *item);
void listing_close(struct listing *listing);
void bucket_order(struct bucket *bucket);

/* json.c */
typedef void json_field(void *context, struct slice outer, struct slice name, struct slice value);
bool json_strings(struct slice json, json_field *field, void *context);

/* reply.c */
void reply_begin(struct conn *conn, int status);
void reply_field(struct conn *conn, const char *name, struct slice value);
void reply_number(struct conn *conn, const char *name, uint64_t value);
void reply_body(struct conn *conn, const char *type, struct slice body);
void reply_empty(struct conn *conn, int status);
void reply_blob(struct conn *conn, struct blob *blob, uint64_t from, uint64_t len);
bool reply_is_head(const struct conn *conn);

/* s3.c, s3_read.c, s3_list.c, s3_multipart.c */
struct s3 {
    struct bucket *bucket;
    struct slice name, key;
};
bool s3_handle(struct conn *conn);
void s3_error(struct conn *conn, int status, const char *code, const char *message);
void s3_fields(const struct request *request, struct text *fields);
void s3_stored_fields(struct conn *conn, const struct blob *blob);
bool s3_condition(struct conn *conn, const struct blob *there);
bool s3_checked(struct conn *conn, bool *tells_crc32c, struct slice *md5);
void s3_read(struct conn *conn, struct s3 *s3);
void s3_list(struct conn *conn, struct s3 *s3);
void s3_upload_begin(struct conn *conn, struct s3 *s3);
void s3_upload_part(struct conn *conn, struct s3 *s3);
void s3_upload_complete(struct conn *conn, struct s3 *s3);
void s3_upload_abort(struct conn *conn, struct s3 *s3);
struct slice bare_etag(struct slice value);
enum span { SPAN_NONE, SPAN_OK, SPAN_BAD };
enum span read_span(struct slice range, uint64_t size, uint64_t *from, uint64_t *len);

/* gcs.c, gcs_resource.c, gcs_list.c, gcs_upload.c, gcs_session.c */
struct gcs {
    struct bucket *bucket;
    struct slice name, key;
    struct slice host; /* for links; none: the answer need not have them */
};
bool gcs_handle(struct conn *conn);
void gcs_error(struct conn *conn, int status, const char *reason, const char *message);
void gcs_resource(struct text *json, const struct gcs *gcs, const struct item *item);
void gcs_answer(struct conn *conn, const struct gcs *gcs, const struct blob *blob);
bool gcs_condition(struct conn *conn, const struct blob *there);
void gcs_upload(struct conn *conn, struct gcs *gcs);
void gcs_list(struct conn *conn, struct gcs *gcs);
void gcs_compose(struct conn *conn, struct gcs *gcs);
struct gcs_metadata {
    struct text name, fields;
    bool has_crc32c, has_md5;
    uint32_t crc32c;
    unsigned char md5[16];
};
void gcs_field(void *metadata, struct slice outer, struct slice name, struct slice value);
bool gcs_metadata_read(struct slice json, struct gcs_metadata *metadata);
void gcs_metadata_free(struct gcs_metadata *metadata);
void gcs_claims(const struct request *request, struct gcs_metadata *metadata);
struct blob *gcs_stored(struct conn *conn, const struct gcs *gcs, struct blob *blob, struct gcs_metadata *metadata);
void gcs_session_begin(struct conn *conn, struct gcs *gcs, struct gcs_metadata *metadata);
void gcs_session_go_on(struct conn *conn, struct gcs *gcs);

/* control.c */
bool control_handle(struct conn *conn);

/* conn.c */
struct conn *conn_new(int fd, void *tls);
void conn_run(struct conn *conn);
void conn_free(struct conn *conn);

/* tls.c */
bool tls_setup(const char *certificate, const char *key);
bool tls_on(void);
uint64_t tls_handshakes(void);
uint64_t tls_resumed(void);
bool tls_drained(void *tls);
void *tls_new(int fd);
void tls_free(void *tls);
ssize_t tls_read(void *tls, void *bytes, size_t len);
ssize_t tls_write(void *tls, const void *bytes, size_t len);

/* main.c */
enum md5_mode { MD5_CLAIMED, MD5_ALWAYS, MD5_NEVER };
struct settings {
    double delay_ms, fail_percent;
    enum md5_mode md5;
};
struct stats {
    uint64_t requests, puts, gets, heads, lists, bytes_in, bytes_out, failed, connections, open;
};
extern struct settings settings;
extern struct stats stats;
int64_t now_ns(void);
int64_t now_seconds(void);
uint64_t next_random(void);
void hold(struct conn *conn);
void run_again(struct conn *conn);
void bury(struct conn *conn);

#endif
