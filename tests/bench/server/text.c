/* Text: building it, comparing it, and the encodings in which keys and checksums travel. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "server.h"

const struct slice NOTHING = {"", 0};

static const char HEX[] = "0123456789abcdef";
static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void *must_alloc(size_t size) { return must_realloc(NULL, size); }

void *must_realloc(void *old, size_t size) {
    void *got = realloc(old, size ? size : 1);
    if (!got) {
        fprintf(stderr, "no memory for %zu bytes\n", size);
        abort();
    }
    return got;
}

void text_room(struct text *text, size_t more) {
    if (text->len + more <= text->cap) return;
    size_t cap = text->cap ? text->cap * 2 : 256;
    while (cap < text->len + more) cap *= 2;
    text->at = must_realloc(text->at, cap);
    text->cap = cap;
}

void text_add(struct text *text, const void *bytes, size_t len) {
    if (!len) return;
    text_room(text, len);
    memcpy(text->at + text->len, bytes, len);
    text->len += len;
}

void text_str(struct text *text, const char *str) { text_add(text, str, strlen(str)); }

void text_slice(struct text *text, struct slice slice) { text_add(text, slice.at, slice.len); }

void text_number(struct text *text, uint64_t number) {
    char digits[20];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    text_add(text, digits + at, sizeof digits - at);
}

void text_printf(struct text *text, const char *format, ...) {
    va_list args;
    text_room(text, 256);
    va_start(args, format);
    int len = vsnprintf(text->at + text->len, text->cap - text->len, format, args);
    va_end(args);
    if (len < 0) return;
    if ((size_t)len >= text->cap - text->len) {
        text_room(text, (size_t)len + 1);
        va_start(args, format);
        vsnprintf(text->at + text->len, text->cap - text->len, format, args);
        va_end(args);
    }
    text->len += (size_t)len;
}

void text_hex(struct text *text, const void *bytes, size_t len) {
    const unsigned char *byte = bytes;
    text_room(text, len * 2);
    for (size_t i = 0; i < len; i++) {
        text->at[text->len++] = HEX[byte[i] >> 4];
        text->at[text->len++] = HEX[byte[i] & 15];
    }
}

void text_base64(struct text *text, const void *bytes, size_t len) {
    const unsigned char *byte = bytes;
    text_room(text, len / 3 * 4 + 4);
    for (size_t i = 0; i < len; i += 3) {
        unsigned group = (unsigned)byte[i] << 16 | (i + 1 < len ? byte[i + 1] << 8 : 0) | (i + 2 < len ? byte[i + 2] : 0);
        text->at[text->len++] = BASE64[group >> 18];
        text->at[text->len++] = BASE64[group >> 12 & 63];
        text->at[text->len++] = i + 1 < len ? BASE64[group >> 6 & 63] : '=';
        text->at[text->len++] = i + 2 < len ? BASE64[group & 63] : '=';
    }
}

void text_xml(struct text *text, struct slice slice) {
    text_room(text, slice.len * 6); /* no character takes more */
    for (size_t i = 0; i < slice.len; i++) {
        unsigned char c = (unsigned char)slice.at[i];
        if (c == '&') text_str(text, "&amp;");
        else if (c == '<') text_str(text, "&lt;");
        else if (c == '>') text_str(text, "&gt;");
        else if (c == '"') text_str(text, "&quot;");
        else if (c < 0x20) text_printf(text, "&#x%x;", c);
        else text->at[text->len++] = (char)c;
    }
}

void text_json(struct text *text, struct slice slice) {
    text_room(text, slice.len + 2);
    text_add(text, "\"", 1);
    for (size_t i = 0; i < slice.len; i++) {
        unsigned char c = (unsigned char)slice.at[i];
        if (c == '"' || c == '\\') text_add(text, (char[]){'\\', (char)c}, 2);
        else if (c < 0x20) text_printf(text, "\\u%04x", c);
        else text_add(text, &c, 1);
    }
    text_add(text, "\"", 1);
}

void text_url(struct text *text, struct slice slice) {
    text_room(text, slice.len * 3);
    for (size_t i = 0; i < slice.len; i++) {
        unsigned char c = (unsigned char)slice.at[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-_.~/", c))) {
            text->at[text->len++] = (char)c;
        } else {
            text->at[text->len++] = '%';
            text->at[text->len++] = "0123456789ABCDEF"[c >> 4];
            text->at[text->len++] = "0123456789ABCDEF"[c & 15];
        }
    }
}

/* The same few times are written again and again: their text is kept. */
static const char *kept_time(int64_t seconds, bool iso) {
    static struct {
        int64_t seconds;
        char text[40];
    } kept[2][64];
    int slot = (int)(seconds & 63);
    if (kept[iso][slot].seconds != seconds) {
        time_t when = (time_t)seconds;
        struct tm tm;
        gmtime_r(&when, &tm);
        strftime(kept[iso][slot].text, 40, iso ? "%Y-%m-%dT%H:%M:%S.000Z" : "%a, %d %b %Y %H:%M:%S GMT", &tm);
        kept[iso][slot].seconds = seconds;
    }
    return kept[iso][slot].text;
}

void text_iso(struct text *text, int64_t seconds) { text_str(text, kept_time(seconds, true)); }

void text_http_date(struct text *text, int64_t seconds) { text_str(text, kept_time(seconds, false)); }

void text_crc32c(struct text *text, uint32_t crc32c) {
    unsigned char bytes[4] = {(unsigned char)(crc32c >> 24), (unsigned char)(crc32c >> 16), (unsigned char)(crc32c >> 8),
                              (unsigned char)crc32c};
    text_base64(text, bytes, 4);
}

struct slice slice_of(const char *str) { return (struct slice){str, strlen(str)}; }

bool same(struct slice a, struct slice b) { return a.len == b.len && !memcmp(a.at, b.at, a.len); }

bool same_nocase(struct slice a, struct slice b) { return a.len == b.len && !strncasecmp(a.at, b.at, a.len); }

bool starts(struct slice whole, struct slice with) { return whole.len >= with.len && !memcmp(whole.at, with.at, with.len); }

int compare(struct slice a, struct slice b) {
    int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

const char *find(struct slice in, struct slice what) { return memmem(in.at, in.len, what.at, what.len); }

bool to_number(struct slice digits, uint64_t *number) {
    uint64_t sum = 0;
    if (!digits.len || digits.len > 19) return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.at[i] < '0' || digits.at[i] > '9') return false;
        sum = sum * 10 + (uint64_t)(digits.at[i] - '0');
    }
    *number = sum;
    return true;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

void unescape_url(struct text *into, struct slice from, bool plus_is_space) {
    text_room(into, from.len);
    for (size_t i = 0; i < from.len; i++) {
        char c = from.at[i];
        if (c == '%' && i + 2 < from.len && hex_value(from.at[i + 1]) >= 0 && hex_value(from.at[i + 2]) >= 0) {
            c = (char)(hex_value(from.at[i + 1]) << 4 | hex_value(from.at[i + 2]));
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        into->at[into->len++] = c;
    }
}

bool unhex(struct text *into, struct slice from) {
    if (from.len % 2) return false;
    for (size_t i = 0; i < from.len; i += 2) {
        int high = hex_value(from.at[i]), low = hex_value(from.at[i + 1]);
        if (high < 0 || low < 0) return false;
        char c = (char)(high << 4 | low);
        text_add(into, &c, 1);
    }
    return true;
}

size_t unbase64(struct slice from, unsigned char *into, size_t room) {
    size_t len = 0;
    unsigned group = 0, bits = 0;
    for (size_t i = 0; i < from.len && from.at[i] != '='; i++) {
        const char *digit = from.at[i] ? strchr(BASE64, from.at[i]) : NULL;
        if (!digit) return 0;
        group = group << 6 | (unsigned)(digit - BASE64);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            if (len == room) return 0;
            into[len++] = (unsigned char)(group >> bits);
        }
    }
    return len;
}

bool read_crc32c(struct slice base64, uint32_t *crc32c) {
    unsigned char bytes[4];
    if (unbase64(base64, bytes, 4) != 4) return false;
    *crc32c = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    return true;
}
