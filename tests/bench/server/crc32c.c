/* CRC-32C: with the processor's own instruction where there is one, three streams at a time because the instruction takes three
 * cycles and can be started in each; with tables elsewhere. And the checksum of two pieces from the checksums of each.
 */
#include <string.h>

#include "server.h"

#define POLYNOMIAL 0x82f63b78u /* bits reversed */
#define STREAM 4096            /* bytes of each of the three streams */

static uint32_t table[8][256];
static uint32_t skip[4][256]; /* what STREAM zero bytes do to a checksum, byte by byte of it */
static bool in_hardware;

/* a times b, as polynomials modulo the CRC's. */
static uint32_t multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
        if (a & bit) product ^= b;
        b = b & 1 ? b >> 1 ^ POLYNOMIAL : b >> 1;
    }
    return product;
}

/* x to the power of 8 * bytes. */
static uint32_t power(uint64_t bytes) {
    uint32_t result = 1u << 31, square = 1u << 23;
    for (; bytes; bytes >>= 1) {
        if (bytes & 1) result = multiply(square, result);
        square = multiply(square, square);
    }
    return result;
}

void crc32c_setup(void) {
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t crc = n;
        for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        table[0][n] = crc;
    }
    for (uint32_t n = 0; n < 256; n++)
        for (int k = 1; k < 8; k++) table[k][n] = table[k - 1][n] >> 8 ^ table[0][table[k - 1][n] & 255];
    uint32_t shift = power(STREAM);
    for (uint32_t n = 0; n < 256; n++)
        for (int k = 0; k < 4; k++) skip[k][n] = multiply(shift, n << (8 * k));
#if defined(__x86_64__)
    in_hardware = __builtin_cpu_supports("sse4.2");
#endif
}

static uint32_t by_table(uint32_t crc, const unsigned char *at, size_t len) {
    for (; len >= 8; at += 8, len -= 8) {
        uint32_t low = crc ^ ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
        crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^ table[4][low >> 24] ^
              table[3][at[4]] ^ table[2][at[5]] ^ table[1][at[6]] ^ table[0][at[7]];
    }
    while (len--) crc = crc >> 8 ^ table[0][(crc ^ *at++) & 255];
    return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

static uint32_t over_zeros(uint32_t crc) {
    return skip[0][crc & 255] ^ skip[1][crc >> 8 & 255] ^ skip[2][crc >> 16 & 255] ^ skip[3][crc >> 24];
}

static inline uint64_t word(const unsigned char *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const unsigned char *at, size_t len) {
    uint64_t first = crc;
    for (; len >= 3 * STREAM; at += 3 * STREAM, len -= 3 * STREAM) {
        uint64_t second = 0, third = 0;
        for (size_t i = 0; i < STREAM; i += 8) {
            first = _mm_crc32_u64(first, word(at + i));
            second = _mm_crc32_u64(second, word(at + STREAM + i));
            third = _mm_crc32_u64(third, word(at + 2 * STREAM + i));
        }
        first = over_zeros((uint32_t)first) ^ second;
        first = over_zeros((uint32_t)first) ^ third;
    }
    for (; len >= 8; at += 8, len -= 8) first = _mm_crc32_u64(first, word(at));
    crc = (uint32_t)first;
    while (len--) crc = _mm_crc32_u8(crc, *at++);
    return crc;
}
#else
static uint32_t by_instruction(uint32_t crc, const unsigned char *at, size_t len) { return by_table(crc, at, len); }
#endif

uint32_t crc32c_add(uint32_t crc, const void *bytes, size_t len) {
    return ~(in_hardware ? by_instruction(~crc, bytes, len) : by_table(~crc, bytes, len));
}

uint32_t crc32c_join(uint32_t first, uint32_t second, uint64_t second_len) {
    return multiply(power(second_len), first) ^ second;
}
