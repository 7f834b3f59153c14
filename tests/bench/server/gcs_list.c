/* Listing over the JSON API, and compose, which names its objects in a list.
 *
 * https://cloud.google.com/storage/docs/json_api/v1/objects/list
 */
#include <stdlib.h>
#include <string.h>

#include "server.h"

static struct slice sliced(struct text text) { return text.len ? (struct slice){text.at, text.len} : NOTHING; }

void gcs_list(struct conn *conn, struct gcs *gcs) {
    static struct text json, prefixes;
    const struct request *request = &conn->request;
    struct text prefix = {0}, delimiter = {0}, from = {0}, until = {0}, token = {0}, after = {0};
    struct listing listing = {.bucket = gcs->bucket, .most = 1000};
    struct item item;
    uint64_t most;
    stats.lists++;
    http_query(request, S("prefix"), &prefix);
    http_query(request, S("delimiter"), &delimiter);
    http_query(request, S("startOffset"), &from);
    http_query(request, S("endOffset"), &until);
    http_query(request, S("pageToken"), &token);
    if (to_number(http_query_raw(request, S("maxResults")), &most) && most && most < 1000) listing.most = most;
    json.len = prefixes.len = 0;
    if (!unhex(&after, sliced(token))) {
        gcs_error(conn, 400, "invalid", "Invalid page token.");
    } else {
        listing.prefix = sliced(prefix), listing.delimiter = sliced(delimiter), listing.after = sliced(after);
        listing.from = sliced(from), listing.until = sliced(until);
        text_str(&json, "{\"kind\":\"storage#objects\",\"items\":[");
        listing_open(&listing);
        for (bool any = false; listing_next(&listing, &item);) {
            if (item.is_prefix) {
                if (prefixes.len) text_str(&prefixes, ",");
                text_json(&prefixes, item.key);
                continue;
            }
            if (any) text_str(&json, ",");
            any = true;
            gcs_resource(&json, gcs, &item);
        }
        text_str(&json, "],\"prefixes\":[");
        text_slice(&json, sliced(prefixes));
        text_str(&json, "]");
        if (listing.truncated) {
            text_str(&json, ",\"nextPageToken\":\"");
            text_hex(&json, listing.last.at, listing.last.len);
            text_str(&json, "\"");
        }
        text_str(&json, "}");
        reply_begin(conn, 200);
        reply_body(conn, "application/json; charset=UTF-8", sliced(json));
        listing_close(&listing);
    }
    struct text *texts[] = {&prefix, &delimiter, &from, &until, &token, &after};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) free(texts[i]->at);
}

enum { MOST_SOURCES = 32 };

struct sources {
    struct bucket *bucket;
    struct blob *blobs[MOST_SOURCES];
    int count;
    bool bad;
    struct gcs_metadata metadata;
};

static void take_source(void *context, struct slice outer, struct slice name, struct slice value) {
    struct sources *sources = context;
    if (same(outer, S("destination"))) gcs_field(&sources->metadata, NOTHING, name, value);
    if (same(outer, S("metadata"))) gcs_field(&sources->metadata, outer, name, value);
    if (!same(outer, S("sourceObjects")) || !same(name, S("name"))) return;
    struct blob *blob = bucket_get(sources->bucket, value);
    if (!blob || sources->count == MOST_SOURCES) sources->bad = true;
    else sources->blobs[sources->count++] = blob;
}

/* One object out of up to 32, by reference. The checksum is put together from theirs. */
void gcs_compose(struct conn *conn, struct gcs *gcs) {
    struct buf *body = conn->request.body;
    struct sources sources = {.bucket = gcs->bucket};
    struct slice json = body ? (struct slice){body->data, body->len} : NOTHING;
    if (!json_strings(json, take_source, &sources) || sources.bad || !sources.count) {
        gcs_metadata_free(&sources.metadata);
        return gcs_error(conn, 404, "notFound", "The source objects of a compose must be there, 1 to 32 of them.");
    }
    if (!gcs_condition(conn, bucket_get(gcs->bucket, gcs->key))) return gcs_metadata_free(&sources.metadata);
    unsigned segments = 0;
    for (int i = 0; i < sources.count; i++) segments += sources.blobs[i]->segments;
    struct blob *whole = blob_new(segments);
    unsigned at = 0;
    for (int i = 0; i < sources.count; i++) {
        const struct blob *part = sources.blobs[i];
        for (unsigned k = 0; k < part->segments; k++) {
            whole->segment[at] = part->segment[k];
            buf_keep(whole->segment[at++].buf);
        }
        whole->crc32c = crc32c_join(whole->crc32c, part->crc32c, part->size);
        whole->size += part->size;
    }
    whole->fields = sources.metadata.fields.at;
    whole->fields_len = sources.metadata.fields.len;
    sources.metadata.fields = (struct text){0};
    gcs_metadata_free(&sources.metadata);
    blob_tag(whole, false);
    bucket_put(gcs->bucket, gcs->key, whole);
    stats.puts++;
    gcs_answer(conn, gcs, whole);
}
