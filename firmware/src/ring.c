#include "ring.h"

#include <string.h>

_Static_assert((GUNSHOT_RING_SAMPLES & (GUNSHOT_RING_SAMPLES - 1)) == 0, "or counters would jump at 2^32");
#ifndef __ARM_ARCH_6M__ /* it loads and stores without a lock, and lacks what nobody asks for here: to exchange */
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "an interrupt must not wait for a lock");
#endif

/* Each side reads its own counters relaxed and the other's by acquire, and releases a counter when what it counts is
 * done: samples are copied before `written` or `read` say so, and `gaps` and `passed` come last. */
static uint32_t own(_Atomic uint32_t *counter) {
  return atomic_load_explicit(counter, memory_order_relaxed);
}

static uint32_t theirs(_Atomic uint32_t *counter) {
  return atomic_load_explicit(counter, memory_order_acquire);
}

static void set(_Atomic uint32_t *counter, uint32_t value) {
  atomic_store_explicit(counter, value, memory_order_release);
}

void gunshot_ring_init(gunshot_ring *ring) {
  memset(ring, 0, sizeof *ring);
}

void gunshot_ring_write(gunshot_ring *ring, const int16_t *samples, size_t n) {
  uint32_t gaps = own(&ring->gaps), written = own(&ring->written);
  bool waits = gaps != theirs(&ring->passed);
  if (waits || n > GUNSHOT_RING_SAMPLES - (written - theirs(&ring->read))) {
    set(&ring->dropped, own(&ring->dropped) + (uint32_t)n);
    set(&ring->gaps, waits ? gaps : gaps + 1);
    return;
  }
  for (size_t i = 0; i < n; i++) {
    ring->samples[(written + i) % GUNSHOT_RING_SAMPLES] = samples[i];
  }
  set(&ring->written, written + (uint32_t)n);
}

size_t gunshot_ring_read(gunshot_ring *ring, int16_t *samples, size_t n, bool *gap) {
  uint32_t gaps = theirs(&ring->gaps); /* before `written`, which no longer moves where a gap waits */
  uint32_t read = own(&ring->read), there = theirs(&ring->written) - read;
  size_t taken = n < there ? n : there;
  for (size_t i = 0; i < taken; i++) {
    samples[i] = ring->samples[(read + i) % GUNSHOT_RING_SAMPLES];
  }
  set(&ring->read, read + (uint32_t)taken);
  *gap = ring->gap && taken > 0;
  ring->gap = ring->gap && taken == 0;
  if (taken == there && gaps != own(&ring->passed)) {
    ring->gap = true;
    set(&ring->passed, gaps);
  }
  return taken;
}
