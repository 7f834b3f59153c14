/* Google Cloud Storage's JSON API: which operation a request asks for, and all but the uploads.
 *
 * https://cloud.google.com/storage/docs/json_api/v1
 */
#include <stdlib.h>
#include <string.h>

#include "server.h"

static const char JSON[] = "application/json; charset=UTF-8";

void gcs_error(struct conn *conn, int status, const char *reason, const char *message) {
    struct text json = {0};
    text_printf(&json, "{\"error\":{\"code\":%d,\"message\":", status);
    text_json(&json, slice_of(message));
    text_str(&json, ",\"errors\":[{\"domain\":\"global\",\"reason\":");
    text_json(&json, slice_of(reason));
    text_str(&json, ",\"message\":");
    text_json(&json, slice_of(message));
    text_str(&json, "}]}}");
    reply_begin(conn, status);
    reply_body(conn, JSON, (struct slice){json.at, json.len});
    free(json.at);
}

static void not_found(struct conn *conn) { gcs_error(conn, 404, "notFound", "No such object."); }

static void answer_json(struct conn *conn, const struct text *json) {
    reply_begin(conn, 200);
    reply_body(conn, JSON, (struct slice){json->at, json->len});
}

static bool told_number(const struct request *request, struct slice name, uint64_t *number) {
    return to_number(http_query_raw(request, name), number);
}

/* 0 means that nothing is there. */
bool gcs_condition(struct conn *conn, const struct blob *there) {
    uint64_t wanted, unwanted, meta, generation = there ? there->generation : 0;
    const struct request *request = &conn->request;
    bool match = !told_number(request, S("ifGenerationMatch"), &wanted) || wanted == generation;
    bool meta_match = !told_number(request, S("ifMetagenerationMatch"), &meta) || meta == (there ? 1 : 0);
    bool other = !told_number(request, S("ifGenerationNotMatch"), &unwanted) || unwanted != generation;
    if (match && meta_match && !other && same(request->method, S("GET"))) return reply_empty(conn, 304), false;
    if (match && meta_match && other) return true;
    gcs_error(conn, 412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.");
    return false;
}

static void media(struct conn *conn, struct blob *blob) {
    uint64_t from = 0, len = blob->size;
    enum span span = read_span(http_header(&conn->request, S("range")), blob->size, &from, &len);
    if (span == SPAN_BAD) return gcs_error(conn, 416, "requestedRangeNotSatisfiable", "Request range not satisfiable");
    reply_begin(conn, span == SPAN_OK ? 206 : 200);
    struct text *out = &conn->out;
    reply_number(conn, "X-Goog-Generation", blob->generation);
    reply_number(conn, "X-Goog-Stored-Content-Length", blob->size);
    text_str(out, "X-Goog-Metageneration: 1\r\nX-Goog-Storage-Class: STANDARD\r\nX-Goog-Hash: crc32c=");
    text_crc32c(out, blob->crc32c);
    if (blob->has_md5) {
        text_str(out, ",md5=");
        text_base64(out, blob->md5, 16);
    }
    text_printf(out, "\r\nETag: \"%llu\"\r\nLast-Modified: ", (unsigned long long)blob->generation);
    text_http_date(out, blob->seconds);
    text_str(out, "\r\n");
    static const char *const names[] = {"content-type", "cache-control", "content-disposition", "content-encoding", "content-language"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct slice value = blob_get(blob, slice_of(names[i]));
        if (value.at) reply_field(conn, names[i], value);
        else if (!i) reply_field(conn, names[i], S("application/octet-stream"));
    }
    if (span == SPAN_OK)
        text_printf(out, "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)from, (unsigned long long)(from + len - 1),
                    (unsigned long long)blob->size);
    reply_blob(conn, blob, from, len);
}

/* The same bytes with other fields: under another name, or in the place of `old`. */
static void write_copy(const struct gcs *gcs, const struct blob *old, struct gcs_metadata *metadata, bool replace) {
    struct blob *blob = blob_share(old);
    if (replace) {
        free(blob->fields);
        blob->fields = metadata->fields.at;
        blob->fields_len = metadata->fields.len;
        metadata->fields = (struct text){0};
    }
    bucket_put(gcs->bucket, gcs->key, blob);
}

/* What a patch names is replaced, what it does not name stays. */
static void patch(struct conn *conn, struct gcs *gcs, struct blob *there) {
    struct buf *body = conn->request.body;
    struct gcs_metadata metadata;
    if (!gcs_metadata_read(body ? (struct slice){body->data, body->len} : NOTHING, &metadata)) {
        gcs_metadata_free(&metadata);
        return gcs_error(conn, 400, "parseError", "Parse Error");
    }
    struct blob named = {.fields = metadata.fields.at, .fields_len = metadata.fields.len};
    bool all = same(conn->request.method, S("PUT"));
    for (const char *at = there->fields, *end = at + there->fields_len; !all && at < end;) {
        struct slice name = slice_of(at), value = slice_of(at + name.len + 1);
        named.fields = metadata.fields.at; /* it moves as it grows */
        if (!blob_get(&named, name).at) blob_field(&metadata.fields, name, value);
        at = value.at + value.len + 1;
    }
    uint64_t generation = there->generation;
    write_copy(gcs, there, &metadata, true);
    struct blob *blob = bucket_get(gcs->bucket, gcs->key);
    blob->generation = generation;
    gcs_answer(conn, gcs, blob);
    gcs_metadata_free(&metadata);
}

/* NAME/rewriteTo/b/BUCKET/o/NAME, or copyTo; whole at once. */
static void rewrite(struct conn *conn, struct gcs *gcs, struct blob *old, struct slice target, bool is_rewrite) {
    struct text bucket = {0}, key = {0}, json = {0};
    const char *middle = find(target, S("/o/"));
    struct gcs to = {.host = gcs->host};
    struct gcs_metadata metadata = {0};
    if (middle) {
        unescape_url(&bucket, (struct slice){target.at, (size_t)(middle - target.at)}, false);
        unescape_url(&key, (struct slice){middle + 3, (size_t)(target.at + target.len - middle - 3)}, false);
        to.name = (struct slice){bucket.at, bucket.len};
        to.key = (struct slice){key.at, key.len};
        to.bucket = bucket_find(to.name);
    }
    struct buf *body = conn->request.body;
    if (!to.bucket || !to.key.len) {
        not_found(conn);
    } else if (gcs_condition(conn, bucket_get(to.bucket, to.key))) {
        bool good = gcs_metadata_read(body ? (struct slice){body->data, body->len} : NOTHING, &metadata);
        write_copy(&to, old, &metadata, good && metadata.fields.len);
        struct blob *blob = bucket_get(to.bucket, to.key);
        stats.puts++;
        if (is_rewrite) {
            struct item item = {.key = to.key, .size = blob->size, .generation = blob->generation, .seconds = blob->seconds, .blob = blob};
            text_printf(&json, "{\"kind\":\"storage#rewriteResponse\",\"totalBytesRewritten\":\"%llu\",\"objectSize\":\"%llu\",\"done\":true,\"resource\":",
                        (unsigned long long)blob->size, (unsigned long long)blob->size);
            gcs_resource(&json, &to, &item);
            text_str(&json, "}");
            answer_json(conn, &json);
        } else {
            gcs_answer(conn, &to, blob);
        }
    }
    gcs_metadata_free(&metadata);
    free(bucket.at);
    free(key.at);
    free(json.at);
}

/* NAME/moveTo/o/NAME: all at once, within the bucket. */
static void move(struct conn *conn, struct gcs *gcs, struct blob *old, struct slice target) {
    struct text key = {0};
    uint64_t generation;
    struct gcs to = *gcs;
    unescape_url(&key, target, false);
    to.key = (struct slice){key.at, key.len};
    if (told_number(&conn->request, S("ifSourceGenerationMatch"), &generation) && generation != old->generation) {
        gcs_error(conn, 412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.");
    } else if (gcs_condition(conn, bucket_get(to.bucket, to.key))) {
        struct blob *blob = blob_share(old);
        bucket_put(to.bucket, to.key, blob);
        bucket_delete(gcs->bucket, gcs->key);
        gcs_answer(conn, &to, blob);
    }
    free(key.at);
}

static void on_object(struct conn *conn, struct gcs *gcs, struct slice raw, bool download) {
    struct request *request = &conn->request;
    struct slice method = request->method;
    static const struct slice verbs[] = {{"/rewriteTo/b/", 13}, {"/copyTo/b/", 10}, {"/compose", 8}, {"/moveTo/o/", 10}};
    const char *verb = NULL;
    int kind = 0;
    for (; same(method, S("POST")) && kind < 4 && !(verb = find(raw, verbs[kind])); kind++) continue;
    struct slice name = verb ? (struct slice){raw.at, (size_t)(verb - raw.at)} : raw;
    static struct text key;
    key.len = 0;
    unescape_url(&key, name, false);
    gcs->key = (struct slice){key.at, key.len};
    if (verb && kind == 2) return gcs_compose(conn, gcs);
    struct blob *there = bucket_get(gcs->bucket, gcs->key);
    bool get = same(method, S("GET")) || same(method, S("HEAD"));
    bool wants_media = get && (download || same(http_query_raw(request, S("alt")), S("media")));
    if (get) *(wants_media ? &stats.gets : &stats.heads) += 1;
    if (!there) return not_found(conn);
    uint64_t generation;
    if (told_number(request, S("generation"), &generation) && generation != there->generation) return not_found(conn);
    if (verb) {
        struct slice target = {verb + verbs[kind].len, (size_t)(raw.at + raw.len - verb) - verbs[kind].len};
        return kind == 3 ? move(conn, gcs, there, target) : rewrite(conn, gcs, there, target, kind == 0);
    }
    if (!gcs_condition(conn, there)) return;
    if (wants_media) return media(conn, there);
    if (get) return gcs_answer(conn, gcs, there);
    if (same(method, S("PATCH")) || same(method, S("PUT"))) return patch(conn, gcs, there);
    if (!same(method, S("DELETE"))) return gcs_error(conn, 501, "notImplemented", "This server does not know that operation.");
    bucket_delete(gcs->bucket, gcs->key);
    reply_empty(conn, 204);
}

static void bucket_resource(struct text *json, struct slice name) {
    text_str(json, "{\"kind\":\"storage#bucket\",\"id\":");
    text_json(json, name);
    text_str(json, ",\"name\":");
    text_json(json, name);
    text_str(json, ",\"location\":\"US\",\"storageClass\":\"STANDARD\",\"timeCreated\":\"2026-01-01T00:00:00.000Z\","
                   "\"metageneration\":\"1\",\"iamConfiguration\":{\"uniformBucketLevelAccess\":{\"enabled\":true}}}");
}

static void on_buckets(struct conn *conn) {
    struct text json = {0};
    struct buf *body = conn->request.body;
    if (same(conn->request.method, S("POST"))) {
        struct gcs_metadata metadata;
        bool good = gcs_metadata_read(body ? (struct slice){body->data, body->len} : NOTHING, &metadata) && metadata.name.len;
        struct slice name = {metadata.name.at, metadata.name.len};
        if (!good) {
            gcs_error(conn, 400, "required", "A bucket needs a name.");
        } else if (bucket_find(name)) {
            gcs_error(conn, 409, "conflict", "Your previous request to create the named bucket succeeded and you already own it.");
        } else {
            bucket_make(name);
            bucket_resource(&json, name);
            answer_json(conn, &json);
        }
        gcs_metadata_free(&metadata);
    } else {
        text_str(&json, "{\"kind\":\"storage#buckets\",\"items\":[");
        for (size_t i = 0, told = 0; i < bucket_count(); i++) {
            if (!bucket_at(i)->created) continue;
            if (told++) text_str(&json, ",");
            bucket_resource(&json, slice_of(bucket_at(i)->name));
        }
        text_str(&json, "]}");
        answer_json(conn, &json);
    }
    free(json.at);
}

static void on_bucket(struct conn *conn, struct gcs *gcs) {
    struct text json = {0};
    if (same(conn->request.method, S("DELETE"))) {
        if (bucket_remove(gcs->bucket)) return reply_empty(conn, 204);
        return gcs_error(conn, 409, "conflict", "The bucket you tried to delete is not empty.");
    }
    bucket_resource(&json, gcs->name);
    answer_json(conn, &json);
    free(json.at);
}

bool gcs_handle(struct conn *conn) {
    static struct text name;
    struct request *request = &conn->request;
    struct slice path = request->path;
    bool upload = starts(path, S("/upload/")), download = starts(path, S("/download/"));
    const char *rest = find(path, S("/v1/"));
    path = (struct slice){rest + 4, (size_t)(path.at + path.len - rest - 4)};
    if (same(path, S("b"))) return on_buckets(conn), true;
    if (!starts(path, S("b/"))) return gcs_error(conn, 404, "notFound", "Not Found"), true;
    path.at += 2, path.len -= 2;
    const char *slash = memchr(path.at, '/', path.len);
    name.len = 0;
    unescape_url(&name, (struct slice){path.at, slash ? (size_t)(slash - path.at) : path.len}, false);
    struct gcs gcs = {.name = {name.at, name.len}};
    gcs.bucket = bucket_find(gcs.name);
    struct slice fields = http_query_raw(request, S("fields"));
    if (!fields.len || find(fields, S("mediaLink"))) gcs.host = http_header(request, S("host"));
    if (!gcs.bucket) return gcs_error(conn, 404, "notFound", "The specified bucket does not exist."), true;
    struct slice below = slash ? (struct slice){slash, (size_t)(path.at + path.len - slash)} : NOTHING;
    if (!below.len) on_bucket(conn, &gcs);
    else if (upload && same(below, S("/o"))) gcs_upload(conn, &gcs);
    else if (same(below, S("/o"))) gcs_list(conn, &gcs);
    else if (starts(below, S("/o/")) && below.len > 3) on_object(conn, &gcs, (struct slice){below.at + 3, below.len - 3}, download);
    else gcs_error(conn, 404, "notFound", "Not Found");
    return true;
}
