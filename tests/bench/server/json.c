/* As much JSON as object metadata needs: the strings and numbers of an object, and of the objects and lists in it. */
#include <stdlib.h>
#include <string.h>

#include "server.h"

struct reader {
    const char *at, *end;
    json_field *field;
    void *context;
    int depth;
};

static void skip_space(struct reader *reader) {
    while (reader->at < reader->end && strchr(" \t\r\n", *reader->at) && *reader->at) reader->at++;
}

static bool accept(struct reader *reader, char c) {
    skip_space(reader);
    if (reader->at == reader->end || *reader->at != c) return false;
    reader->at++;
    return true;
}

static bool read_unit(struct reader *reader, unsigned *unit) {
    *unit = 0;
    if (reader->end - reader->at < 4) return false;
    for (int i = 0; i < 4; i++) {
        char c = *reader->at++;
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
        if (digit < 0) return false;
        *unit = *unit << 4 | (unsigned)digit;
    }
    return true;
}

static bool read_escaped_unit(struct reader *reader, struct text *into) {
    unsigned code, low;
    if (!read_unit(reader, &code)) return false;
    if (code >= 0xd800 && code < 0xdc00 && reader->end - reader->at >= 6 && reader->at[0] == '\\' && reader->at[1] == 'u') {
        reader->at += 2;
        if (!read_unit(reader, &low)) return false;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    char bytes[4];
    size_t len = 0;
    if (code < 0x80) bytes[len++] = (char)code;
    else if (code < 0x800) bytes[len++] = (char)(0xc0 | code >> 6);
    else if (code < 0x10000) bytes[len++] = (char)(0xe0 | code >> 12), bytes[len++] = (char)(0x80 | (code >> 6 & 63));
    else bytes[len++] = (char)(0xf0 | code >> 18), bytes[len++] = (char)(0x80 | (code >> 12 & 63)), bytes[len++] = (char)(0x80 | (code >> 6 & 63));
    if (code >= 0x80) bytes[len++] = (char)(0x80 | (code & 63));
    text_add(into, bytes, len);
    return true;
}

static bool read_string(struct reader *reader, struct text *into) {
    into->len = 0;
    if (!accept(reader, '"')) return false;
    while (reader->at < reader->end) {
        char c = *reader->at++;
        if (c == '"') return true;
        if (c == '\\') {
            if (reader->at == reader->end) return false;
            c = *reader->at++;
            static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
            const char *known = c ? strchr(from, c) : NULL;
            if (c == 'u') {
                if (!read_escaped_unit(reader, into)) return false;
                continue;
            }
            if (!known) return false;
            c = to[known - from];
        }
        text_add(into, &c, 1);
    }
    return false;
}

static bool read_value(struct reader *reader, struct slice outer, struct slice name);

static bool read_object(struct reader *reader, struct slice outer) {
    struct text name = {0};
    bool good = true;
    if (accept(reader, '}')) return true;
    do {
        good = read_string(reader, &name) && accept(reader, ':') &&
               read_value(reader, outer, name.len ? (struct slice){name.at, name.len} : NOTHING);
    } while (good && accept(reader, ','));
    free(name.at);
    return good && accept(reader, '}');
}

static bool read_list(struct reader *reader, struct slice outer, struct slice name) {
    if (accept(reader, ']')) return true;
    do
        if (!read_value(reader, outer, name)) return false;
    while (accept(reader, ','));
    return accept(reader, ']');
}

static bool read_value(struct reader *reader, struct slice outer, struct slice name) {
    bool good = ++reader->depth < 32;
    skip_space(reader);
    if (!good || reader->at == reader->end) return false;
    if (accept(reader, '{')) {
        good = read_object(reader, name);
    } else if (accept(reader, '[')) {
        good = read_list(reader, outer, name);
    } else if (*reader->at == '"') {
        struct text value = {0};
        good = read_string(reader, &value);
        if (good) reader->field(reader->context, outer, name, value.len ? (struct slice){value.at, value.len} : NOTHING);
        free(value.at);
    } else {
        const char *start = reader->at;
        while (reader->at < reader->end && !strchr(",]} \t\r\n", *reader->at)) reader->at++;
        good = reader->at > start;
        if (good) reader->field(reader->context, outer, name, (struct slice){start, (size_t)(reader->at - start)});
    }
    reader->depth--;
    return good;
}

/* Calls `field` for each; `outer` is the name of the object or list that a value stands in, empty at the top. */
bool json_strings(struct slice json, json_field *field, void *context) {
    struct reader reader = {.at = json.at, .end = json.at + json.len, .field = field, .context = context};
    if (!read_value(&reader, NOTHING, NOTHING)) return false;
    skip_space(&reader);
    return reader.at == reader.end;
}
