/* Two slots for images, and which of them a start runs. An image that was taken runs on trial: the one of before stays
 * in the other slot until somebody says that the new one is to be kept. Power may be lost at any byte: an image is in
 * the choice only after it is whole, and each choice is written beside the one of before. gunshot/device/slots.py does
 * the same with files. */
#ifndef GUNSHOT_SLOTS_H
#define GUNSHOT_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ota.h"
#include "status.h"

#ifndef GUNSHOT_SLOT_BYTES              /* a board may have larger ones */
#define GUNSHOT_SLOT_BYTES (128 * 1024) /* of an image and its manifest, which lies before it */
#endif
#define GUNSHOT_CHOICE_BYTES 256
#define GUNSHOT_NO_SLOT 0xFE /* and so not what erased flash says */

typedef enum { GUNSHOT_SLOT_A, GUNSHOT_SLOT_B, GUNSHOT_CHOICE_A, GUNSHOT_CHOICE_B } gunshot_area;

/* As it lies in flash. */
typedef struct {
  uint32_t crc32;      /* of all that follows */
  uint32_t number;     /* of the choice: the larger one of two holds */
  uint32_t least;      /* an image with a smaller version is refused for good */
  uint32_t over;       /* gunshot_ota_hash of the image that was taken back last: it does not begin again */
  uint8_t kept, trial; /* slots, or NO_SLOT: what was flashed; none */
  uint8_t starts;      /* of the trial */
  uint8_t zero;
} gunshot_choice;

typedef struct {
  gunshot_ota_device device; /* `installed` grows with what is kept */
  gunshot_choice choice;
  uint8_t running;  /* slot, or NO_SLOT: what was flashed */
  uint8_t writing;  /* slot, or NO_SLOT */
  uint32_t written; /* bytes of its image */
  bool due;         /* another image is to run: the device is to start again */
} gunshot_slots;

/* Choose what this start runs, `running`, by its bytes: a trial three times at most, then what was kept, else what was
 * flashed. A bootloader calls it before it jumps. */
void gunshot_slots_boot(gunshot_slots *slots, const gunshot_ota_device *device);
/* Begin to take the image of a manifest: the slot that is not kept is erased, where no rule is against it. One that is
 * being taken goes on where it is. */
GUNSHOT_CHECKED gunshot_ota_verdict gunshot_slots_begin(gunshot_slots *slots,
                                                        const uint8_t manifest[GUNSHOT_OTA_BYTES]);
/* Write the bytes of an image that come after those `written`. With the last ones it is on trial from the next start
 * on, if it is what was signed. */
GUNSHOT_CHECKED gunshot_ota_verdict gunshot_slots_add(gunshot_slots *slots, const uint8_t *bytes, size_t size);
/* Keep the image of a manifest, which runs on trial: from now on none that is older is taken. */
GUNSHOT_CHECKED gunshot_ota_verdict gunshot_slots_keep(gunshot_slots *slots,
                                                       const uint8_t manifest[GUNSHOT_OTA_BYTES]);
/* End the trial of the image of a manifest. The last one that was taken back does not begin again; of those before it
 * nothing is known. */
GUNSHOT_CHECKED gunshot_ota_verdict gunshot_slots_back(gunshot_slots *slots,
                                                       const uint8_t manifest[GUNSHOT_OTA_BYTES]);
/* Whether a slot, or none, has this manifest. */
bool gunshot_slots_has(uint8_t slot, const uint8_t manifest[GUNSHOT_OTA_BYTES]);

/* What a board gives beside port.h. An area is where a slot or a choice lies; erased it is all 0xFF, and each of its
 * bytes is written once after that. */
const uint8_t *port_flash(gunshot_area area);
GUNSHOT_CHECKED gunshot_status port_flash_erase(gunshot_area area);
GUNSHOT_CHECKED gunshot_status port_flash_write(gunshot_area area, size_t at, const uint8_t *bytes, size_t size);

#endif
