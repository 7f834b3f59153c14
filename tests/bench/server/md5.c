/* MD5 (RFC 1321): the ETags of S3 and Content-MD5. */
#include <string.h>

#include "server.h"

#define F(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define G(x, y, z) ((y) ^ ((z) & ((x) ^ (y))))
#define H(x, y, z) ((x) ^ (y) ^ (z))
#define I(x, y, z) ((y) ^ ((x) | ~(z)))
#define STEP(f, a, b, c, d, k, s, t) \
    a += f(b, c, d) + x[k] + t##u;   \
    a = b + (a << s | a >> (32 - s));
#define FOUR(f, s0, s1, s2, s3, k0, t0, k1, t1, k2, t2, k3, t3) \
    STEP(f, a, b, c, d, k0, s0, t0)                             \
    STEP(f, d, a, b, c, k1, s1, t1)                             \
    STEP(f, c, d, a, b, k2, s2, t2)                             \
    STEP(f, b, c, d, a, k3, s3, t3)

static void blocks(uint32_t state[4], const unsigned char *at, size_t count) {
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    for (; count; count--, at += 64) {
        uint32_t x[16], a0 = a, b0 = b, c0 = c, d0 = d;
        memcpy(x, at, 64); /* little-endian processors only, like the rest of this server */
        FOUR(F, 7, 12, 17, 22, 0, 0xd76aa478, 1, 0xe8c7b756, 2, 0x242070db, 3, 0xc1bdceee)
        FOUR(F, 7, 12, 17, 22, 4, 0xf57c0faf, 5, 0x4787c62a, 6, 0xa8304613, 7, 0xfd469501)
        FOUR(F, 7, 12, 17, 22, 8, 0x698098d8, 9, 0x8b44f7af, 10, 0xffff5bb1, 11, 0x895cd7be)
        FOUR(F, 7, 12, 17, 22, 12, 0x6b901122, 13, 0xfd987193, 14, 0xa679438e, 15, 0x49b40821)
        FOUR(G, 5, 9, 14, 20, 1, 0xf61e2562, 6, 0xc040b340, 11, 0x265e5a51, 0, 0xe9b6c7aa)
        FOUR(G, 5, 9, 14, 20, 5, 0xd62f105d, 10, 0x02441453, 15, 0xd8a1e681, 4, 0xe7d3fbc8)
        FOUR(G, 5, 9, 14, 20, 9, 0x21e1cde6, 14, 0xc33707d6, 3, 0xf4d50d87, 8, 0x455a14ed)
        FOUR(G, 5, 9, 14, 20, 13, 0xa9e3e905, 2, 0xfcefa3f8, 7, 0x676f02d9, 12, 0x8d2a4c8a)
        FOUR(H, 4, 11, 16, 23, 5, 0xfffa3942, 8, 0x8771f681, 11, 0x6d9d6122, 14, 0xfde5380c)
        FOUR(H, 4, 11, 16, 23, 1, 0xa4beea44, 4, 0x4bdecfa9, 7, 0xf6bb4b60, 10, 0xbebfbc70)
        FOUR(H, 4, 11, 16, 23, 13, 0x289b7ec6, 0, 0xeaa127fa, 3, 0xd4ef3085, 6, 0x04881d05)
        FOUR(H, 4, 11, 16, 23, 9, 0xd9d4d039, 12, 0xe6db99e5, 15, 0x1fa27cf8, 2, 0xc4ac5665)
        FOUR(I, 6, 10, 15, 21, 0, 0xf4292244, 7, 0x432aff97, 14, 0xab9423a7, 5, 0xfc93a039)
        FOUR(I, 6, 10, 15, 21, 12, 0x655b59c3, 3, 0x8f0ccc92, 10, 0xffeff47d, 1, 0x85845dd1)
        FOUR(I, 6, 10, 15, 21, 8, 0x6fa87e4f, 15, 0xfe2ce6e0, 6, 0xa3014314, 13, 0x4e0811a1)
        FOUR(I, 6, 10, 15, 21, 4, 0xf7537e82, 11, 0xbd3af235, 2, 0x2ad7d2bb, 9, 0xeb86d391)
        a += a0, b += b0, c += c0, d += d0;
    }
    state[0] = a, state[1] = b, state[2] = c, state[3] = d;
}

void md5_begin(struct md5 *md5) {
    *md5 = (struct md5){.state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}};
}

void md5_add(struct md5 *md5, const void *bytes, size_t len) {
    const unsigned char *at = bytes;
    size_t held = md5->count % 64;
    md5->count += len;
    if (held) {
        size_t take = 64 - held < len ? 64 - held : len;
        memcpy(md5->block + held, at, take);
        if (held + take < 64) return;
        blocks(md5->state, md5->block, 1);
        at += take, len -= take;
    }
    blocks(md5->state, at, len / 64);
    memcpy(md5->block, at + len / 64 * 64, len % 64);
}

void md5_end(struct md5 *md5, unsigned char digest[16]) {
    static const unsigned char padding[64] = {0x80};
    uint64_t bits = md5->count * 8;
    md5_add(md5, padding, 1 + (119 - md5->count % 64) % 64);
    md5_add(md5, &bits, 8);
    memcpy(digest, md5->state, 16);
}
