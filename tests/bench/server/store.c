/* Objects in memory: buffers and blobs by reference count, buckets as hash tables with an order that is made when it is asked for. */
#include <stdlib.h>
#include <string.h>

#include "server.h"

static struct bucket **buckets;
static size_t bucket_total;
static uint64_t last_generation = 1700000000000000;

struct buf *buf_new(size_t cap) {
    struct buf *buf = must_alloc(sizeof *buf + cap);
    *buf = (struct buf){.refs = 1, .cap = cap};
    return buf;
}

struct buf *buf_keep(struct buf *buf) {
    buf->refs++;
    return buf;
}

void buf_drop(struct buf *buf) {
    if (!--buf->refs) free(buf);
}

struct blob *blob_new(unsigned segments) {
    size_t size = sizeof(struct blob) + segments * sizeof(struct segment);
    struct blob *blob = must_alloc(size);
    memset(blob, 0, size);
    blob->refs = 1;
    blob->segments = segments;
    blob->generation = ++last_generation;
    blob->seconds = now_seconds();
    return blob;
}

/* Shares `buf`. */
struct blob *blob_of(struct buf *buf, size_t at, size_t len, uint32_t crc32c) {
    struct blob *blob = blob_new(1);
    blob->segment[0] = (struct segment){buf_keep(buf), at, len};
    blob->size = len;
    blob->crc32c = crc32c;
    return blob;
}

struct blob *blob_share(const struct blob *old) {
    struct blob *blob = blob_new(old->segments);
    uint64_t generation = blob->generation;
    int64_t written = blob->seconds;
    memcpy(blob, old, sizeof *blob + old->segments * sizeof(struct segment));
    for (unsigned i = 0; i < blob->segments; i++) buf_keep(blob->segment[i].buf);
    blob->refs = 1, blob->generation = generation, blob->seconds = written;
    struct text fields = {0};
    text_add(&fields, old->fields, old->fields_len);
    blob->fields = fields.at;
    return blob;
}

/* What can be told of a blob when its bytes are gone. */
struct blob *blob_outline(const struct blob *old) {
    struct blob *blob = blob_share(old);
    for (unsigned i = 0; i < blob->segments; i++) buf_drop(blob->segment[i].buf);
    blob->segments = 0;
    blob->generation = old->generation;
    return blob;
}

struct blob *blob_keep(struct blob *blob) {
    blob->refs++;
    return blob;
}

void blob_drop(struct blob *blob) {
    if (--blob->refs) return;
    for (unsigned i = 0; i < blob->segments; i++) buf_drop(blob->segment[i].buf);
    free(blob->fields);
    free(blob);
}

void blob_md5(struct blob *blob) {
    struct md5 md5;
    md5_begin(&md5);
    for (unsigned i = 0; i < blob->segments; i++) {
        struct segment *segment = &blob->segment[i];
        md5_add(&md5, segment->buf->data + segment->at, segment->len);
    }
    md5_end(&md5, blob->md5);
    blob->has_md5 = true;
}

/* The MD5 when it is known or wanted; else CRC32C and size, in a form that no client takes for an MD5. */
void blob_tag(struct blob *blob, bool want_md5) {
    struct text tag = {0};
    if (want_md5 && !blob->has_md5) blob_md5(blob);
    if (blob->has_md5) text_hex(&tag, blob->md5, 16);
    else text_printf(&tag, "%08x%016llx", blob->crc32c, (unsigned long long)blob->size);
    memcpy(blob->etag, tag.at, tag.len);
    blob->etag[tag.len] = 0;
    free(tag.at);
}

void blob_field(struct text *fields, struct slice name, struct slice value) {
    text_slice(fields, name);
    text_add(fields, "", 1);
    text_slice(fields, value);
    text_add(fields, "", 1);
}

struct slice blob_get(const struct blob *blob, struct slice name) {
    for (const char *at = blob->fields, *end = at + blob->fields_len; at < end;) {
        struct slice field = slice_of(at), value = slice_of(at + field.len + 1);
        if (same(field, name)) return value;
        at = value.at + value.len + 1;
    }
    return (struct slice){NULL, 0};
}

int blob_iov(const struct blob *blob, uint64_t from, uint64_t len, struct iovec *iov, int room) {
    int count = 0;
    for (unsigned i = 0; i < blob->segments && len && count < room; i++) {
        const struct segment *segment = &blob->segment[i];
        if (from >= segment->len) {
            from -= segment->len;
            continue;
        }
        size_t take = segment->len - from < len ? segment->len - (size_t)from : (size_t)len;
        iov[count++] = (struct iovec){segment->buf->data + segment->at + from, take};
        from = 0;
        len -= take;
    }
    return count;
}

bool blob_equal(const struct blob *a, const struct blob *b) {
    if (a->size != b->size) return false;
    for (uint64_t at = 0; at < a->size;) {
        struct iovec x, y;
        if (blob_iov(a, at, a->size - at, &x, 1) != 1 || blob_iov(b, at, b->size - at, &y, 1) != 1) return false;
        size_t len = x.iov_len < y.iov_len ? x.iov_len : y.iov_len;
        if (memcmp(x.iov_base, y.iov_base, len)) return false;
        at += len;
    }
    return true;
}

size_t bucket_count(void) { return bucket_total; }

struct bucket *bucket_at(size_t number) { return buckets[number]; }

static struct bucket *bucket_add(struct slice name) {
    struct bucket *bucket = must_alloc(sizeof *bucket);
    *bucket = (struct bucket){.name = must_alloc(name.len + 1)};
    memcpy(bucket->name, name.at, name.len);
    bucket->name[name.len] = 0;
    buckets = must_realloc(buckets, (bucket_total + 1) * sizeof *buckets);
    buckets[bucket_total++] = bucket;
    return bucket;
}

/* A bucket that was removed keeps its place, so that requests never hold a pointer to nothing. */
static struct bucket *named(struct slice name) {
    for (size_t i = 0; i < bucket_total; i++)
        if (same(slice_of(buckets[i]->name), name)) return buckets[i];
    return NULL;
}

struct bucket *bucket_find(struct slice name) {
    struct bucket *bucket = named(name);
    if (bucket) return bucket->created ? bucket : NULL;
    struct slice synthetic = S("synthetic-");
    uint64_t keys;
    if (!starts(name, synthetic) || !to_number((struct slice){name.at + synthetic.len, name.len - synthetic.len}, &keys)) return NULL;
    bucket = bucket_add(name);
    bucket->created = true;
    bucket->synthetic = keys;
    return bucket;
}

struct bucket *bucket_make(struct slice name) {
    struct bucket *bucket = bucket_find(name);
    if (!bucket) bucket = named(name);
    if (!bucket) bucket = bucket_add(name);
    bucket->created = true;
    return bucket;
}

bool bucket_remove(struct bucket *bucket) {
    for (size_t i = 0; i < bucket->listed; i++)
        if (bucket->sorted[i]->blob) return false;
    bucket_empty(bucket);
    bucket->created = false;
    return true;
}

void bucket_empty(struct bucket *bucket) {
    for (size_t i = 0; i < bucket->listed; i++) {
        if (bucket->sorted[i]->blob) blob_drop(bucket->sorted[i]->blob);
        free(bucket->sorted[i]);
    }
    free(bucket->slots);
    free(bucket->sorted);
    bucket->slots = bucket->sorted = NULL;
    bucket->mask = bucket->entries = bucket->listed = bucket->ordered = bucket->room = 0;
    bucket->writes = 0;
}

static uint64_t hash_of(struct slice key) {
    uint64_t hash = key.len * 0x9e3779b97f4a7c15ull, word;
    size_t i = 0;
    for (; i + 8 <= key.len; i += 8) {
        memcpy(&word, key.at + i, 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccdull;
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, key.at + i, key.len - i);
    hash = (hash ^ word) * 0xc4ceb9fe1a85ec53ull;
    return hash ^ hash >> 29;
}

static struct entry **slot_of(struct bucket *bucket, uint64_t hash, struct slice key) {
    for (size_t i = hash & bucket->mask;; i = (i + 1) & bucket->mask) {
        struct entry *entry = bucket->slots[i];
        if (!entry || (entry->hash == hash && entry->len == key.len && !memcmp(entry->key, key.at, key.len))) return &bucket->slots[i];
    }
}

static void grow(struct bucket *bucket) {
    size_t size = bucket->mask ? (bucket->mask + 1) * 2 : 1024;
    struct entry **old = bucket->slots;
    size_t old_size = bucket->mask ? bucket->mask + 1 : 0;
    bucket->slots = must_alloc(size * sizeof *bucket->slots);
    memset(bucket->slots, 0, size * sizeof *bucket->slots);
    bucket->mask = size - 1;
    for (size_t i = 0; i < old_size; i++)
        if (old[i]) *slot_of(bucket, old[i]->hash, (struct slice){old[i]->key, old[i]->len}) = old[i];
    free(old);
}

struct blob *bucket_get(struct bucket *bucket, struct slice key) {
    if (!bucket->slots) return NULL;
    struct entry *entry = *slot_of(bucket, hash_of(key), key);
    return entry ? entry->blob : NULL;
}

void bucket_put(struct bucket *bucket, struct slice key, struct blob *blob) {
    if (!bucket->slots || bucket->entries * 2 > bucket->mask) grow(bucket);
    uint64_t hash = hash_of(key);
    struct entry **slot = slot_of(bucket, hash, key);
    if (!*slot) {
        struct entry *entry = *slot = must_alloc(sizeof *entry + key.len);
        *entry = (struct entry){.hash = hash, .len = (uint32_t)key.len};
        memcpy(entry->key, key.at, key.len);
        bucket->entries++;
        if (bucket->listed == bucket->room) {
            bucket->room = bucket->room ? bucket->room * 2 : 1024;
            bucket->sorted = must_realloc(bucket->sorted, bucket->room * sizeof *bucket->sorted);
        }
        bucket->sorted[bucket->listed++] = entry;
    }
    if ((*slot)->blob) blob_drop((*slot)->blob);
    (*slot)->blob = blob;
    bucket->writes++;
}

void bucket_delete(struct bucket *bucket, struct slice key) {
    if (!bucket->slots) return;
    struct entry *entry = *slot_of(bucket, hash_of(key), key);
    if (!entry || !entry->blob) return;
    blob_drop(entry->blob);
    entry->blob = NULL;
}
