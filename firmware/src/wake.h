/* An acoustic wake-up: front end and model sleep until the energy of one of two bands rises. The last samples are kept,
 * so that the windows that a rise wants are computed from what was heard, as if nothing had slept:
 * gunshot/device/wake.py. GUNSHOT_WAKE_DB is firmware.wake_db of params.yaml, the rise that wakes in dB; 0: off. */
#ifndef GUNSHOT_WAKE_H
#define GUNSHOT_WAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "constants.h"

#ifndef GUNSHOT_WAKE_DB
#define GUNSHOT_WAKE_DB 0 /* generated/ is of a version that never slept */
#endif

#define GUNSHOT_WAKE_BANDS 2
#define GUNSHOT_WAKE_KEPT 8192u /* samples, a power of two; wake.c checks that they are enough */

typedef struct {
  int32_t filtered;                    /* by the low-pass, in sixteenths of a sample */
  uint32_t held;                       /* samples of the hop that is not whole */
  uint64_t energy[GUNSHOT_WAKE_BANDS]; /* of these */
  uint64_t before[GUNSHOT_WAKE_BANDS]; /* of the last whole hop */
  int32_t mean[GUNSHOT_WAKE_BANDS];    /* of the level, slowly; 4096 an octave */
  int64_t hops;                        /* whole ones */
  uint64_t written, read;              /* samples that were kept, and that were taken from there */
  uint32_t wanted;                     /* windows that a rise wants: bit w % 32 of window w */
  int16_t kept[GUNSHOT_WAKE_KEPT];
} gunshot_wake;

/* Begin anew: before the first sample, and where samples are missing. */
void gunshot_wake_reset(gunshot_wake *wake);
/* Keep `n` samples, and note the windows that hops in them want which rise by GUNSHOT_WAKE_DB. Returns the first of
 * these windows, or -1. */
int64_t gunshot_wake_write(gunshot_wake *wake, const int16_t *samples, size_t n);
/* Copy up to `n` of the samples that were not read out. Returns how many. */
size_t gunshot_wake_read(gunshot_wake *wake, int16_t *samples, size_t n);
/* Whether a rise wants a window; asked once, when it has ended. */
bool gunshot_wake_takes(gunshot_wake *wake, int64_t window);

#endif
