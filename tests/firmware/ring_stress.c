/* Two threads on a ring. Each sample is its own number, so that a lost, doubled or torn one shows. argv[1] samples are
 * written, or dropped. Prints how many were read, how many dropped, and how many gaps were told. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "ring.h"

static gunshot_ring ring;
static uint32_t total;
static atomic_bool done;

static void wait_until_passed(void) {
  while (atomic_load(&ring.written) != atomic_load(&ring.read) || atomic_load(&ring.gaps) != atomic_load(&ring.passed)) {
    sched_yield();
  }
}

static void *write_all(void *unused) {
  static int16_t piece[GUNSHOT_RING_SAMPLES + 1];
  uint32_t random = 1;
  for (uint32_t at = 0; at < total;) {
    random = random * 1664525u + 1013904223u;
    bool too_long = (random >> 25 & 63u) == 0; /* never fits: an overrun, however fast the reader is */
    uint32_t n = too_long ? GUNSHOT_RING_SAMPLES + 1 : random >> 16 & 511u;
    n = n < total - at ? n : total - at;
    for (uint32_t i = 0; i < n; i++) {
      piece[i] = (int16_t)(at + i);
    }
    gunshot_ring_write(&ring, piece, n);
    at += n;
    if (too_long || random >> 29 == 0) {
      wait_until_passed(); /* the next piece fits, however slow the reader is */
    }
  }
  atomic_store(&done, true);
  return unused;
}

int main(int argc, char **argv) {
  total = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
  gunshot_ring_init(&ring);
  ring.written = ring.read = 0xfffffc00u; /* wraps soon */
  pthread_t writer;
  if (pthread_create(&writer, NULL, write_all, NULL) != 0) {
    return 2;
  }
  uint32_t count = 0, gaps = 0;
  uint16_t next = 0;
  for (;;) {
    bool last = atomic_load(&done), gap;
    int16_t piece[333];
    size_t n = gunshot_ring_read(&ring, piece, 1 + count % 333, &gap);
    if (gap) {
      gaps++;
      next = (uint16_t)piece[0];
    }
    for (size_t i = 0; i < n; i++, next++) {
      if ((uint16_t)piece[i] != next) {
        fprintf(stderr, "sample %u is %u\n", next, (uint16_t)piece[i]);
        return 1;
      }
    }
    count += (uint32_t)n;
    if (n == 0 && last) {
      break;
    }
  }
  pthread_join(writer, NULL);
  printf("%u %u %u\n", count, ring.dropped, gaps);
  return 0;
}
