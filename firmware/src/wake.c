#include "wake.h"

#include <string.h>

enum {
  HOP = GUNSHOT_HOP_LENGTH,
  LOW = 2,           /* the low-pass takes a quarter of what is new: below some 700 Hz */
  SLOW = 8,          /* the mean takes a 256th: 1.8 s */
  FRACTION = 4,      /* bits of a sample's that the low-pass keeps, and of an octave's that a level has */
  LEVEL = 8,         /* bits more that the mean has */
  LEAST = GUNSHOT_WAKE_DB * (1000 << FRACTION) / 3010, /* steps of a level: an octave of energy has 3.010 dB */
  WINDOWS = 32,      /* that can be wanted at once: bits of `wanted` */
  FRAMES = (GUNSHOT_N_FFT - 1) / GUNSHOT_HOP_LENGTH /* frames before the one that begins with a hop that hold it too */
};

_Static_assert((GUNSHOT_WAKE_KEPT & (GUNSHOT_WAKE_KEPT - 1)) == 0, "or places would jump where the count ends");
#if GUNSHOT_WAKE_DB
_Static_assert(GUNSHOT_WAKE_DB >= 1 && GUNSHOT_WAKE_DB <= 60, "firmware.wake_db: 0, or a whole number from 1 to 60");
_Static_assert(GUNSHOT_DETECTOR_WINDOWS == 1, "a mean of windows that sleep is none: detector.windows must be 1");
_Static_assert(HOP * (GUNSHOT_DETECTOR_STOP + GUNSHOT_DETECTOR_HOP + FRAMES) + 1024 <= (int)GUNSHOT_WAKE_KEPT,
               "a window that a rise wants, and the hop before it, must be kept");
_Static_assert(GUNSHOT_DETECTOR_STOP - GUNSHOT_DETECTOR_FIRST + FRAMES < WINDOWS * GUNSHOT_DETECTOR_HOP / 2,
               "the windows that a rise wants must fit the bits of `wanted`");
_Static_assert(GUNSHOT_DETECTOR_LEAD >= GUNSHOT_DETECTOR_FIRST,
               "or the first rise would want a window before the first");
#endif

void gunshot_wake_reset(gunshot_wake *wake) { memset(wake, 0, sizeof *wake); }

/* log2 in steps of 1 / 2^FRACTION, straight between whole ones; 0 of 0. */
static int32_t level(uint64_t energy) {
  if (energy == 0) return 0;
  const int32_t octave = 63 - __builtin_clzll(energy);
  return (octave << FRACTION) + (int32_t)((energy << FRACTION) >> octave) - (1 << FRACTION);
}

/* Keep samples, and add them to the energy of the hop that they are of. Of what is below 0, >> rounds down: all
 * compilers that this is built by do so, and a test holds it. */
static void keep(gunshot_wake *wake, const int16_t *samples, size_t n) {
  uint32_t at = (uint32_t)wake->written;
  int32_t filtered = wake->filtered;
  uint64_t low_energy = wake->energy[0], high_energy = wake->energy[1];
  for (size_t i = 0; i < n; i++) {
    const int32_t sample = samples[i] * (1 << FRACTION);
    wake->kept[at++ % GUNSHOT_WAKE_KEPT] = samples[i];
    filtered += (sample - filtered) >> LOW;
    const int32_t low = filtered >> FRACTION, high = (sample - filtered) >> FRACTION;
    low_energy += (uint32_t)(low * low);
    high_energy += (uint64_t)((int64_t)high * high);
  }
  wake->energy[0] = low_energy;
  wake->energy[1] = high_energy;
  wake->filtered = filtered;
  wake->written += n;
}

/* A hop is whole: whether it rises. */
static bool rises(gunshot_wake *wake) {
  bool risen = false;
  for (int band = 0; band < GUNSHOT_WAKE_BANDS; band++) {
    const uint64_t energy = wake->energy[band], before = wake->hops == 0 ? energy : wake->before[band];
    const int32_t now = level(before + energy) << LEVEL;
    if (wake->hops == 0) wake->mean[band] = now;
    const int32_t above = now - wake->mean[band];
    risen |= above >= LEAST << LEVEL;
    wake->mean[band] += above >> SLOW;
    wake->before[band] = energy;
    wake->energy[band] = 0;
  }
  return risen;
}

/* Note the windows that seek shots in the frames that hold a hop, and return the first. */
static int64_t want(gunshot_wake *wake, int64_t hop) {
  const int64_t after = hop - FRAMES + GUNSHOT_DETECTOR_LEAD - (GUNSHOT_DETECTOR_STOP - 1);
  const int64_t first = after > 0 ? (after + GUNSHOT_DETECTOR_HOP - 1) / GUNSHOT_DETECTOR_HOP : 0;
  const int64_t last = (hop + GUNSHOT_DETECTOR_LEAD - GUNSHOT_DETECTOR_FIRST) / GUNSHOT_DETECTOR_HOP;
  for (int64_t window = first; window <= last; window++) wake->wanted |= 1u << window % WINDOWS;
  return first;
}

int64_t gunshot_wake_write(gunshot_wake *wake, const int16_t *samples, size_t n) {
  int64_t first = -1;
  for (size_t i = 0; i < n;) {
    const size_t left = HOP - wake->held, taken = n - i < left ? n - i : left;
    keep(wake, samples + i, taken);
    i += taken;
    wake->held += (uint32_t)taken;
    if (wake->held < HOP) break;
    wake->held = 0;
    const bool risen = rises(wake);
    const int64_t hop = wake->hops++;
    if (!risen) continue;
    const int64_t wanted = want(wake, hop);
    first = first < 0 ? wanted : first;
  }
  return first;
}

size_t gunshot_wake_read(gunshot_wake *wake, int16_t *samples, size_t n) {
  const uint64_t left = wake->written - wake->read, taken = n < left ? n : left;
  for (uint64_t i = 0; i < taken; i++) samples[i] = wake->kept[wake->read++ % GUNSHOT_WAKE_KEPT];
  return (size_t)taken;
}

bool gunshot_wake_takes(gunshot_wake *wake, int64_t window) {
  const uint32_t bit = 1u << window % WINDOWS;
  const bool wanted = wake->wanted & bit;
  wake->wanted &= ~bit;
  return wanted;
}
