#include "sha2.h"

#include <string.h>

/* The first 64 bits of the fractional parts of the cube roots of the first 80 primes; SHA-256 takes the upper half of
 * the first 64, as its own. */
static const uint64_t constants[80] = {
  0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc, 0x3956c25bf348b538,
  0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118, 0xd807aa98a3030242, 0x12835b0145706fbe,
  0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2, 0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235,
  0xc19bf174cf692694, 0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
  0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5, 0x983e5152ee66dfab,
  0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4, 0xc6e00bf33da88fc2, 0xd5a79147930aa725,
  0x06ca6351e003826f, 0x142929670a0e6e70, 0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed,
  0x53380d139d95b3df, 0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
  0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30, 0xd192e819d6ef5218,
  0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8, 0x19a4c116b8d2d0c8, 0x1e376c085141ab53,
  0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8, 0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373,
  0x682e6ff3d6b2b8a3, 0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
  0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b, 0xca273eceea26619c,
  0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178, 0x06f067aa72176fba, 0x0a637dc5a2c898a6,
  0x113f9804bef90dae, 0x1b710b35131c471b, 0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc,
  0x431d67c49c100d4c, 0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817};

/* Of the square roots of the first 8 primes. */
static const uint64_t initial[8] = {
  0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
  0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

static uint32_t right32(uint32_t x, unsigned n) { return (x >> n) | (x << (32 - n)); }

static void compress256(uint32_t state[8], const uint8_t *block) {
  uint32_t w[16]; /* the last 16 words of the schedule */
  uint32_t s[8];
  memcpy(s, state, sizeof s);
  for (unsigned i = 0; i < 64; i++) {
    uint32_t word = 0;
    if (i < 16) {
      for (unsigned k = 0; k < sizeof word; k++) word = word << 8 | block[i * sizeof word + k];
    } else {
      uint32_t a = w[(i + 1) % 16], b = w[(i + 14) % 16];
      word = w[i % 16] + w[(i + 9) % 16] + (right32(a, 7) ^ right32(a, 18) ^ a >> 3) +
             (right32(b, 17) ^ right32(b, 19) ^ b >> 10);
    }
    w[i % 16] = word;
    uint32_t t1 = s[7] + (right32(s[4], 6) ^ right32(s[4], 11) ^ right32(s[4], 25)) +
                  ((s[4] & s[5]) ^ (~s[4] & s[6])) + (uint32_t)(constants[i] >> 32) + word;
    uint32_t t2 = (right32(s[0], 2) ^ right32(s[0], 13) ^ right32(s[0], 22)) +
                  ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof s[0]);
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (unsigned i = 0; i < 8; i++) state[i] += s[i];
}

void gunshot_sha256_start(gunshot_sha256 *sha) {
  for (unsigned i = 0; i < 8; i++) sha->state[i] = (uint32_t)(initial[i] >> 32);
  sha->length = 0;
}

void gunshot_sha256_add(gunshot_sha256 *sha, const uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    sha->block[sha->length++ % sizeof sha->block] = bytes[i];
    if (sha->length % sizeof sha->block == 0) compress256(sha->state, sha->block);
  }
}

void gunshot_sha256_end(gunshot_sha256 *sha, uint8_t digest[GUNSHOT_SHA256_BYTES]) {
  static const uint8_t padding[2] = {0x80, 0x00};
  uint64_t bits = sha->length * 8;
  gunshot_sha256_add(sha, padding, 1);
  while (sha->length % sizeof sha->block != sizeof sha->block - 2 * sizeof sha->state[0]) {
    gunshot_sha256_add(sha, padding + 1, 1);
  }
  for (unsigned i = 2 * sizeof sha->state[0]; i-- > 0;) { /* the length, of two words */
    uint8_t byte = i < 8 ? (uint8_t)(bits >> (8 * i)) : 0;
    gunshot_sha256_add(sha, &byte, 1);
  }
  for (unsigned i = 0; i < GUNSHOT_SHA256_BYTES; i++) {
    unsigned word = i / sizeof sha->state[0], byte = i % sizeof sha->state[0];
    digest[i] = (uint8_t)(sha->state[word] >> (32 - 8 - 8 * byte));
  }
}

static uint64_t right64(uint64_t x, unsigned n) { return (x >> n) | (x << (64 - n)); }

static void compress512(uint64_t state[8], const uint8_t *block) {
  uint64_t w[16]; /* the last 16 words of the schedule */
  uint64_t s[8];
  memcpy(s, state, sizeof s);
  for (unsigned i = 0; i < 80; i++) {
    uint64_t word = 0;
    if (i < 16) {
      for (unsigned k = 0; k < sizeof word; k++) word = word << 8 | block[i * sizeof word + k];
    } else {
      uint64_t a = w[(i + 1) % 16], b = w[(i + 14) % 16];
      word = w[i % 16] + w[(i + 9) % 16] + (right64(a, 1) ^ right64(a, 8) ^ a >> 7) +
             (right64(b, 19) ^ right64(b, 61) ^ b >> 6);
    }
    w[i % 16] = word;
    uint64_t t1 = s[7] + (right64(s[4], 14) ^ right64(s[4], 18) ^ right64(s[4], 41)) +
                  ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + word;
    uint64_t t2 = (right64(s[0], 28) ^ right64(s[0], 34) ^ right64(s[0], 39)) +
                  ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof s[0]);
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (unsigned i = 0; i < 8; i++) state[i] += s[i];
}

void gunshot_sha512_start(gunshot_sha512 *sha) {
  for (unsigned i = 0; i < 8; i++) sha->state[i] = initial[i];
  sha->length = 0;
}

void gunshot_sha512_add(gunshot_sha512 *sha, const uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    sha->block[sha->length++ % sizeof sha->block] = bytes[i];
    if (sha->length % sizeof sha->block == 0) compress512(sha->state, sha->block);
  }
}

void gunshot_sha512_end(gunshot_sha512 *sha, uint8_t digest[GUNSHOT_SHA512_BYTES]) {
  static const uint8_t padding[2] = {0x80, 0x00};
  uint64_t bits = sha->length * 8;
  gunshot_sha512_add(sha, padding, 1);
  while (sha->length % sizeof sha->block != sizeof sha->block - 2 * sizeof sha->state[0]) {
    gunshot_sha512_add(sha, padding + 1, 1);
  }
  for (unsigned i = 2 * sizeof sha->state[0]; i-- > 0;) { /* the length, of two words */
    uint8_t byte = i < 8 ? (uint8_t)(bits >> (8 * i)) : 0;
    gunshot_sha512_add(sha, &byte, 1);
  }
  for (unsigned i = 0; i < GUNSHOT_SHA512_BYTES; i++) {
    unsigned word = i / sizeof sha->state[0], byte = i % sizeof sha->state[0];
    digest[i] = (uint8_t)(sha->state[word] >> (64 - 8 - 8 * byte));
  }
}
