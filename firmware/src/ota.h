/* Whether a device may take an image: promoted for its class, whole, and not older than what it has.
 *
 * A manifest is 144 bytes, little-endian, made by gunshot/promotion/ota.py:
 *   0 "GSOT"  4 layout, 1  8 version  12 image bytes  16 device class, 16 bytes, zero filled  32 model version, as that
 *   48 SHA-256 of the image  80 Ed25519 signature of the 80 bytes before it */
#ifndef GUNSHOT_OTA_H
#define GUNSHOT_OTA_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

#define GUNSHOT_OTA_BYTES 144
#define GUNSHOT_OTA_TEXT 16

typedef enum {
  GUNSHOT_OTA_TAKE = 0,
  GUNSHOT_OTA_LAYOUT,    /* no manifest, cut off, or of a layout that this code does not know */
  GUNSHOT_OTA_SIGNATURE, /* not signed by the key that this device trusts: nobody promoted it */
  GUNSHOT_OTA_DEVICE,    /* for another class of devices */
  GUNSHOT_OTA_OLDER,     /* an older version than the installed one */
  GUNSHOT_OTA_IMAGE,     /* other bytes, or another number of bytes, than were signed */
  GUNSHOT_OTA_LENGTH,    /* this and those below are of slots.h: it has more bytes than a slot */
  GUNSHOT_OTA_DISK,      /* the port could not erase or write */
  GUNSHOT_OTA_OVER,      /* it was taken back before */
  GUNSHOT_OTA_TRIAL,     /* the one that runs is on trial, and is to be kept or taken back first */
  GUNSHOT_OTA_UNKNOWN    /* the device has no such image on trial, or none that is being taken */
} gunshot_ota_verdict;

typedef struct {
  const uint8_t *public_key; /* 32 bytes, in flash */
  const char *device_class;
  uint32_t installed; /* the version that runs; keep it where an image cannot write */
} gunshot_ota_device;

/* The verdict on a manifest alone, before the image is received. */
GUNSHOT_CHECKED gunshot_ota_verdict gunshot_ota_check(const uint8_t *manifest, size_t manifest_bytes,
                                                      const gunshot_ota_device *device);

/* The verdict on both, the image where it lies now, for example in the second half of flash. Only after this is the
 * image started, and then version becomes `installed`. */
GUNSHOT_CHECKED gunshot_ota_verdict gunshot_ota_verify(const uint8_t *manifest, size_t manifest_bytes,
                                                       const uint8_t *image, size_t image_bytes,
                                                       const gunshot_ota_device *device);

/* The version of a manifest, the first 4 bytes of its image's SHA-256, by which two builds of one version differ, and
 * the bytes of its image; of one that was not checked, whatever it claims. */
uint32_t gunshot_ota_version(const uint8_t manifest[GUNSHOT_OTA_BYTES]);
uint32_t gunshot_ota_hash(const uint8_t manifest[GUNSHOT_OTA_BYTES]);
uint32_t gunshot_ota_size(const uint8_t manifest[GUNSHOT_OTA_BYTES]);

#endif
