/* ListObjectsV2, and V1 for clients that still ask for it.
 *
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
 */
#include <stdlib.h>

#include "server.h"

struct question {
    struct text prefix, delimiter, after, token, start_after;
    bool v2, url;
    uint64_t most;
};

static void name_out(struct text *xml, const struct question *question, struct slice name) {
    if (question->url) text_url(xml, name);
    else text_xml(xml, name);
}

static void element(struct text *xml, const struct question *question, const char *tag, struct slice value) {
    text_str(xml, "<");
    text_str(xml, tag);
    text_str(xml, ">");
    name_out(xml, question, value);
    text_str(xml, "</");
    text_str(xml, tag);
    text_str(xml, ">");
}

static struct slice sliced(struct text text) { return text.len ? (struct slice){text.at, text.len} : NOTHING; }

static bool understand(const struct request *request, struct question *question) {
    question->v2 = same(http_query_raw(request, S("list-type")), S("2"));
    question->url = same(http_query_raw(request, S("encoding-type")), S("url"));
    question->most = 1000;
    struct slice most = http_query_raw(request, S("max-keys"));
    bool good = !most.len || to_number(most, &question->most);
    if (question->most > 1000) question->most = 1000;
    http_query(request, S("prefix"), &question->prefix);
    http_query(request, S("delimiter"), &question->delimiter);
    if (question->v2) {
        http_query(request, S("start-after"), &question->start_after);
        http_query(request, S("continuation-token"), &question->token);
        if (question->token.len) good = good && unhex(&question->after, sliced(question->token));
        else text_slice(&question->after, sliced(question->start_after));
    } else {
        http_query(request, S("marker"), &question->after);
    }
    return good;
}

static void forget(struct question *question) {
    free(question->prefix.at);
    free(question->delimiter.at);
    free(question->after.at);
    free(question->token.at);
    free(question->start_after.at);
}

static void contents(struct text *xml, const struct question *question, const struct item *item) {
    text_str(xml, "<Contents><Key>");
    name_out(xml, question, item->key);
    text_str(xml, "</Key><LastModified>");
    text_iso(xml, item->seconds);
    text_str(xml, "</LastModified><ETag>&quot;");
    text_str(xml, item->etag);
    text_str(xml, "&quot;</ETag><Size>");
    text_number(xml, item->size);
    text_str(xml, "</Size><StorageClass>STANDARD</StorageClass></Contents>");
}

static void head(struct text *xml, const struct s3 *s3, const struct question *question, const struct listing *listing, uint64_t count) {
    text_str(xml, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>");
    text_xml(xml, s3->name);
    text_str(xml, "</Name>");
    element(xml, question, "Prefix", sliced(question->prefix));
    if (question->delimiter.len) element(xml, question, "Delimiter", sliced(question->delimiter));
    if (question->url) text_str(xml, "<EncodingType>url</EncodingType>");
    text_printf(xml, "<MaxKeys>%llu</MaxKeys><IsTruncated>%s</IsTruncated>", (unsigned long long)question->most,
                listing->truncated ? "true" : "false");
    if (!question->v2) {
        element(xml, question, "Marker", sliced(question->after));
        if (listing->truncated) element(xml, question, "NextMarker", sliced(listing->last));
        return;
    }
    text_printf(xml, "<KeyCount>%llu</KeyCount>", (unsigned long long)count);
    if (question->start_after.len) element(xml, question, "StartAfter", sliced(question->start_after));
    if (question->token.len) element(xml, question, "ContinuationToken", sliced(question->token));
    if (!listing->truncated) return;
    text_str(xml, "<NextContinuationToken>");
    text_hex(xml, listing->last.at, listing->last.len);
    text_str(xml, "</NextContinuationToken>");
}

void s3_list(struct conn *conn, struct s3 *s3) {
    static struct text items, xml;
    struct question question = {0};
    stats.lists++;
    if (!understand(&conn->request, &question)) {
        s3_error(conn, 400, "InvalidArgument", "max-keys or the continuation token is not valid");
        return forget(&question);
    }
    struct listing listing = {
        .bucket = s3->bucket,
        .prefix = sliced(question.prefix),
        .delimiter = sliced(question.delimiter),
        .after = sliced(question.after),
        .most = question.most,
    };
    struct item item;
    uint64_t count = 0;
    items.len = xml.len = 0;
    listing_open(&listing);
    for (; listing_next(&listing, &item); count++) {
        if (item.is_prefix) {
            text_str(&items, "<CommonPrefixes>");
            element(&items, &question, "Prefix", item.key);
            text_str(&items, "</CommonPrefixes>");
        } else {
            contents(&items, &question, &item);
        }
    }
    head(&xml, s3, &question, &listing, count);
    text_slice(&xml, sliced(items));
    text_str(&xml, "</ListBucketResult>");
    reply_begin(conn, 200);
    reply_body(conn, "application/xml", sliced(xml));
    listing_close(&listing);
    forget(&question);
}
