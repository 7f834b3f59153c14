/* Listing: pages of a bucket in the order of its keys' bytes, with prefix and delimiter.
 *
 * The order of an ordinary bucket is made when a listing first needs it; keys that came since are sorted and merged in. A
 * synthetic bucket has its order in its numbers: every key is made from its index, and nothing is kept.
 */
#include <stdlib.h>
#include <string.h>

#include "server.h"

enum { SYNTHETIC_KEY = 56, SYNTHETIC_SIZE = 4096 };

static int by_key(const void *a, const void *b) {
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
    return compare((struct slice){x->key, x->len}, (struct slice){y->key, y->len});
}

void bucket_order(struct bucket *bucket) {
    struct entry **sorted = bucket->sorted;
    size_t total = bucket->listed, old = bucket->ordered;
    while (old < total && (old == 0 || by_key(&sorted[old - 1], &sorted[old]) < 0)) old++; /* often they come in order */
    if (old < total) {
        qsort(sorted + old, total - old, sizeof *sorted, by_key);
        struct entry **merged = must_alloc(bucket->room * sizeof *merged);
        for (size_t a = 0, b = old, at = 0; at < total;)
            merged[at++] = b == total || (a < old && by_key(&sorted[a], &sorted[b]) < 0) ? sorted[a++] : sorted[b++];
        free(sorted);
        bucket->sorted = merged;
    }
    bucket->ordered = total;
}

static uint64_t mixed(uint64_t x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static void hex64(char *into, uint64_t value) {
    for (int i = 15; i >= 0; i--, value >>= 4) into[i] = "0123456789abcdef"[value & 15];
}

/* objects/00000000042-<32 hex digits>.bin */
static struct slice synthetic_key(struct listing *listing, uint64_t index) {
    text_room(&listing->scratch, SYNTHETIC_KEY);
    char *at = listing->scratch.at;
    memcpy(at, "objects/", 8);
    uint64_t rest = index;
    for (int i = 18; i >= 8; i--, rest /= 10) at[i] = (char)('0' + rest % 10);
    at[19] = '-';
    hex64(at + 20, mixed(index));
    hex64(at + 36, mixed(index ^ 0x5555555555555555ull));
    memcpy(at + 52, ".bin", 4);
    return (struct slice){at, SYNTHETIC_KEY};
}

static uint64_t total(const struct listing *listing) {
    return listing->bucket->synthetic ? listing->bucket->synthetic : listing->bucket->listed;
}

static struct slice key_at(struct listing *listing, uint64_t index) {
    if (listing->bucket->synthetic) return synthetic_key(listing, index);
    const struct entry *entry = listing->bucket->sorted[index];
    return (struct slice){entry->key, entry->len};
}

/* The first index whose key is not below `key`; with `past`, whose key is above it. */
static uint64_t bound(struct listing *listing, struct slice key, bool past) {
    uint64_t low = 0, high = total(listing);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int order = compare(key_at(listing, middle), key);
        if (order < 0 || (past && order == 0)) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* The first index behind every key that begins with `group`. */
static uint64_t behind(struct listing *listing, struct slice group) {
    struct text next = {0};
    text_slice(&next, group);
    next.at[next.len - 1]++; /* 255 is no byte of UTF-8 */
    uint64_t at = bound(listing, (struct slice){next.at, next.len}, false);
    free(next.at);
    return at;
}

/* The part of `key` that a delimiter rolls up; empty if it stands for itself. */
static struct slice group_of(const struct listing *listing, struct slice key) {
    if (!listing->delimiter.len) return NOTHING;
    struct slice rest = {key.at + listing->prefix.len, key.len - listing->prefix.len};
    const char *found = find(rest, listing->delimiter);
    return found ? (struct slice){key.at, (size_t)(found - key.at) + listing->delimiter.len} : NOTHING;
}

void listing_open(struct listing *listing) {
    if (!listing->bucket->synthetic) bucket_order(listing->bucket);
    listing->truncated = false;
    listing->at = bound(listing, listing->prefix, false);
    uint64_t from = listing->from.len ? bound(listing, listing->from, false) : 0;
    uint64_t after = 0;
    if (listing->after.len) {
        bool inside = starts(listing->after, listing->prefix);
        struct slice group = inside ? group_of(listing, listing->after) : NOTHING;
        after = group.len && same(group, listing->after) ? behind(listing, group) : bound(listing, listing->after, true);
    }
    if (from > listing->at) listing->at = from;
    if (after > listing->at) listing->at = after;
}

static bool skip_deleted(struct listing *listing) {
    if (!listing->bucket->synthetic)
        while (listing->at < total(listing) && !listing->bucket->sorted[listing->at]->blob) listing->at++;
    return listing->at < total(listing);
}

bool listing_next(struct listing *listing, struct item *item) {
    if (!skip_deleted(listing)) return false;
    struct slice key = key_at(listing, listing->at);
    if (!starts(key, listing->prefix) || (listing->until.len && compare(key, listing->until) >= 0)) return false;
    if (!listing->most) {
        listing->truncated = listing->last.len > 0;
        return false;
    }
    listing->most--;
    struct slice group = group_of(listing, key);
    listing->last.len = 0;
    text_slice(&listing->last, group.len ? group : key);
    *item = (struct item){.key = {listing->last.at, listing->last.len}, .is_prefix = group.len > 0};
    if (group.len) {
        listing->at = behind(listing, item->key);
        return true;
    }
    if (listing->bucket->synthetic) {
        hex64(listing->etag, mixed(~listing->at));
        hex64(listing->etag + 16, mixed(listing->at * 3 + 1));
        item->size = SYNTHETIC_SIZE;
        item->generation = listing->at + 1;
        item->seconds = 1790000000;
        item->etag = listing->etag;
    } else {
        const struct blob *blob = item->blob = listing->bucket->sorted[listing->at]->blob;
        item->size = blob->size;
        item->generation = blob->generation;
        item->seconds = blob->seconds;
        item->etag = blob->etag;
    }
    listing->at++;
    return true;
}

void listing_close(struct listing *listing) {
    free(listing->last.at);
    free(listing->scratch.at);
}
