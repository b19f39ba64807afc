/* Samples from the microphone's interrupt (one writer) to the application (one reader), without locks: C11 atomics,
 * which are plain loads and stores with a barrier on Cortex-M, and which ThreadSanitizer can check. C alone. */
#ifndef GUNSHOT_RING_H
#define GUNSHOT_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUNSHOT_RING_SAMPLES 2048u /* a power of two; 128 ms at 16 kHz */

typedef struct {
  int16_t samples[GUNSHOT_RING_SAMPLES];
  /* By the writer alone; all count on, modulo 2^32. */
  _Atomic uint32_t written;
  _Atomic uint32_t dropped; /* samples that found no room */
  _Atomic uint32_t gaps;    /* places where samples are missing */
  /* By the reader alone. */
  _Atomic uint32_t read;
  _Atomic uint32_t passed; /* gaps before which all was read */
  bool gap;                /* lies before the samples to come */
} gunshot_ring;

void gunshot_ring_init(gunshot_ring *ring);
/* Writer: take all of `n` samples, or, where they do not fit, none, and count them; from then on none are taken until
 * the reader has read all before the gap, so that it knows where the gap lies. */
void gunshot_ring_write(gunshot_ring *ring, const int16_t *samples, size_t n);
/* Reader: copy up to `n` samples out; `gap` tells that samples were dropped before them. Returns how many. */
size_t gunshot_ring_read(gunshot_ring *ring, int16_t *samples, size_t n, bool *gap);
/* Either: how many samples the writer has brought, lost ones too, modulo 2^32. */
static inline uint32_t gunshot_ring_given(gunshot_ring *ring) {
  const uint32_t dropped = atomic_load_explicit(&ring->dropped, memory_order_acquire);
  return dropped + atomic_load_explicit(&ring->written, memory_order_acquire);
}

#endif
