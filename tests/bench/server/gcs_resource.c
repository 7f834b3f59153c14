/* An object as the JSON API describes it, both ways.
 *
 * https://cloud.google.com/storage/docs/json_api/v1/objects#resource
 */
#include <stdlib.h>
#include <string.h>

#include "server.h"

static const char *const NAMES[][2] = {
    {"contentType", "content-type"},         {"cacheControl", "cache-control"},       {"contentDisposition", "content-disposition"},
    {"contentEncoding", "content-encoding"}, {"contentLanguage", "content-language"},
};

void gcs_field(void *context, struct slice outer, struct slice name, struct slice value) {
    struct gcs_metadata *metadata = context;
    if (same(outer, S("metadata"))) {
        text_str(&metadata->fields, "meta:");
        blob_field(&metadata->fields, name, value);
    }
    if (outer.len) return;
    if (same(name, S("name"))) {
        metadata->name.len = 0;
        text_slice(&metadata->name, value);
    } else if (same(name, S("crc32c"))) {
        metadata->has_crc32c = read_crc32c(value, &metadata->crc32c);
    } else if (same(name, S("md5Hash"))) {
        metadata->has_md5 = unbase64(value, metadata->md5, 16) == 16;
    }
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (same(name, slice_of(NAMES[i][0]))) blob_field(&metadata->fields, slice_of(NAMES[i][1]), value);
}

bool gcs_metadata_read(struct slice json, struct gcs_metadata *metadata) {
    *metadata = (struct gcs_metadata){0};
    return !json.len || json_strings(json, gcs_field, metadata);
}

void gcs_metadata_free(struct gcs_metadata *metadata) {
    free(metadata->name.at);
    free(metadata->fields.at);
    *metadata = (struct gcs_metadata){0};
}

static void string_field(struct text *json, const char *name, struct slice value) {
    text_str(json, ",\"");
    text_str(json, name);
    text_str(json, "\":");
    text_json(json, value);
}

static void stored_fields(struct text *json, const struct blob *blob) {
    bool opened = false;
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        struct slice value = blob_get(blob, slice_of(NAMES[i][1]));
        if (value.at) string_field(json, NAMES[i][0], value);
    }
    for (const char *at = blob->fields, *end = at + blob->fields_len; at < end;) {
        struct slice name = slice_of(at), value = slice_of(at + name.len + 1);
        at = value.at + value.len + 1;
        if (!starts(name, S("meta:"))) continue;
        text_str(json, opened ? "," : ",\"metadata\":{");
        opened = true;
        text_json(json, (struct slice){name.at + 5, name.len - 5});
        text_str(json, ":");
        text_json(json, value);
    }
    if (opened) text_str(json, "}");
    text_str(json, ",\"crc32c\":\"");
    text_crc32c(json, blob->crc32c);
    if (blob->has_md5) {
        text_str(json, "\",\"md5Hash\":\"");
        text_base64(json, blob->md5, 16);
    }
    text_str(json, "\"");
}

/* "/" is escaped too: a name is one segment of the path. */
static void text_segment(struct text *text, struct slice name) {
    while (name.len) {
        const char *slash = memchr(name.at, '/', name.len);
        size_t len = slash ? (size_t)(slash - name.at) : name.len;
        text_url(text, (struct slice){name.at, len});
        if (slash) text_str(text, "%2F"), len++;
        name.at += len, name.len -= len;
    }
}

void gcs_resource(struct text *json, const struct gcs *gcs, const struct item *item) {
    text_str(json, "{\"kind\":\"storage#object\",\"name\":");
    text_json(json, item->key);
    string_field(json, "bucket", gcs->name);
    text_str(json, ",\"generation\":\"");
    text_number(json, item->generation);
    text_str(json, "\",\"metageneration\":\"1\",\"size\":\"");
    text_number(json, item->size);
    text_str(json, "\",\"storageClass\":\"STANDARD\",\"timeCreated\":\"");
    text_iso(json, item->seconds);
    text_str(json, "\",\"updated\":\"");
    text_iso(json, item->seconds);
    text_str(json, "\",\"etag\":\"");
    text_number(json, item->generation);
    text_str(json, "\"");
    if (item->blob) stored_fields(json, item->blob);
    if (gcs->host.at) { /* where some clients go for the bytes */
        text_str(json, ",\"mediaLink\":\"");
        text_str(json, tls_on() ? "https://" : "http://");
        text_slice(json, gcs->host);
        text_str(json, "/download/storage/v1/b/");
        text_url(json, gcs->name);
        text_str(json, "/o/");
        text_segment(json, item->key);
        text_str(json, "?alt=media\"");
    }
    text_str(json, "}");
}

void gcs_answer(struct conn *conn, const struct gcs *gcs, const struct blob *blob) {
    static struct text json;
    struct item item = {.key = gcs->key, .size = blob->size, .generation = blob->generation, .seconds = blob->seconds, .blob = blob};
    json.len = 0;
    gcs_resource(&json, gcs, &item);
    reply_begin(conn, 200);
    reply_body(conn, "application/json; charset=UTF-8", (struct slice){json.at, json.len});
}
