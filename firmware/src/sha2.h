/* SHA-256 of an image, SHA-512 for Ed25519 (FIPS 180-4), of bytes that come in pieces. */
#ifndef GUNSHOT_SHA2_H
#define GUNSHOT_SHA2_H

#include <stddef.h>
#include <stdint.h>

#define GUNSHOT_SHA256_BYTES 32
#define GUNSHOT_SHA512_BYTES 64

typedef struct {
  uint32_t state[8];
  uint64_t length; /* bytes so far */
  uint8_t block[64];
} gunshot_sha256;

typedef struct {
  uint64_t state[8];
  uint64_t length;
  uint8_t block[128];
} gunshot_sha512;

void gunshot_sha256_start(gunshot_sha256 *sha);
void gunshot_sha256_add(gunshot_sha256 *sha, const uint8_t *bytes, size_t size);
void gunshot_sha256_end(gunshot_sha256 *sha, uint8_t digest[GUNSHOT_SHA256_BYTES]);

void gunshot_sha512_start(gunshot_sha512 *sha);
void gunshot_sha512_add(gunshot_sha512 *sha, const uint8_t *bytes, size_t size);
void gunshot_sha512_end(gunshot_sha512 *sha, uint8_t digest[GUNSHOT_SHA512_BYTES]);

#endif
