#include "ota.h"

#include <stdbool.h>
#include <string.h>

#include "monocypher.h"
#include "sha2.h"

enum { LAYOUT = 4, VERSION = 8, SIZE = 12, DEVICE = 16, SHA256 = 48, SIGNATURE = 80, R_BYTES = 32, KEY_BYTES = 32 };

static uint32_t word(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* RFC 8032 with SHA-512; Monocypher's own EdDSA hashes with BLAKE2b, and has the curve's equation apart. */
static bool is_signed(const uint8_t *manifest, const uint8_t *public_key) {
  const uint8_t *signature = manifest + SIGNATURE;
  uint8_t digest[GUNSHOT_SHA512_BYTES], reduced[32];
  gunshot_sha512 sha;
  gunshot_sha512_start(&sha);
  gunshot_sha512_add(&sha, signature, R_BYTES);
  gunshot_sha512_add(&sha, public_key, KEY_BYTES);
  gunshot_sha512_add(&sha, manifest, SIGNATURE);
  gunshot_sha512_end(&sha, digest);
  crypto_eddsa_reduce(reduced, digest);
  return crypto_eddsa_check_equation(signature, public_key, reduced) == 0;
}

gunshot_ota_verdict gunshot_ota_check(const uint8_t *manifest, size_t manifest_bytes,
                                      const gunshot_ota_device *device) {
  if (manifest_bytes != GUNSHOT_OTA_BYTES || memcmp(manifest, "GSOT", 4) != 0 || word(manifest + LAYOUT) != 1) {
    return GUNSHOT_OTA_LAYOUT;
  }
  if (!is_signed(manifest, device->public_key)) return GUNSHOT_OTA_SIGNATURE;
  if (strncmp((const char *)manifest + DEVICE, device->device_class, GUNSHOT_OTA_TEXT) != 0) return GUNSHOT_OTA_DEVICE;
  if (word(manifest + VERSION) < device->installed) return GUNSHOT_OTA_OLDER;
  return GUNSHOT_OTA_TAKE;
}

gunshot_ota_verdict gunshot_ota_verify(const uint8_t *manifest, size_t manifest_bytes, const uint8_t *image,
                                       size_t image_bytes, const gunshot_ota_device *device) {
  gunshot_ota_verdict verdict = gunshot_ota_check(manifest, manifest_bytes, device);
  if (verdict != GUNSHOT_OTA_TAKE) return verdict;
  if (image_bytes != word(manifest + SIZE)) return GUNSHOT_OTA_IMAGE;
  uint8_t digest[GUNSHOT_SHA256_BYTES];
  gunshot_sha256 sha;
  gunshot_sha256_start(&sha);
  gunshot_sha256_add(&sha, image, image_bytes);
  gunshot_sha256_end(&sha, digest);
  return memcmp(digest, manifest + SHA256, sizeof digest) == 0 ? GUNSHOT_OTA_TAKE : GUNSHOT_OTA_IMAGE;
}

uint32_t gunshot_ota_version(const uint8_t manifest[GUNSHOT_OTA_BYTES]) { return word(manifest + VERSION); }
uint32_t gunshot_ota_hash(const uint8_t manifest[GUNSHOT_OTA_BYTES]) { return word(manifest + SHA256); }
uint32_t gunshot_ota_size(const uint8_t manifest[GUNSHOT_OTA_BYTES]) { return word(manifest + SIZE); }
