/* Sums of products of int8, where most of a network's time goes: with Helium, with the pairs of 16-bit products of
 * Cortex-M4 and M7, and in plain C. They are whole numbers: the same in each. */
#ifndef GUNSHOT_DOT_H
#define GUNSHOT_DOT_H

#include <stdint.h>
#include <string.h>

/* dot: x weights, n of each, added to `sum`. dot4: the same for four filters whose weights lie behind each other, so
 * that x is loaded once for four. */
#if defined(__ARM_FEATURE_MVE)

#include <arm_mve.h>

static inline int32_t dot(const int8_t *x, const int8_t *weights, int32_t n, int32_t sum) {
  for (; n > 0; n -= 16, x += 16, weights += 16) {
    const mve_pred16_t there = vctp8q((uint32_t)n); /* of the last 16 not all are */
    sum = vmladavaq_s8(sum, vldrbq_z_s8(x, there), vldrbq_z_s8(weights, there));
  }
  return sum;
}

static inline void dot4(const int8_t *x, const int8_t *weights, int32_t n, int32_t *sums) {
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  for (int32_t left = n; left > 0; left -= 16, x += 16, weights += 16) {
    const mve_pred16_t there = vctp8q((uint32_t)left);
    const int8x16_t from = vldrbq_z_s8(x, there);
    a = vmladavaq_s8(a, from, vldrbq_z_s8(weights, there));
    b = vmladavaq_s8(b, from, vldrbq_z_s8(weights + n, there));
    c = vmladavaq_s8(c, from, vldrbq_z_s8(weights + 2 * n, there));
    d = vmladavaq_s8(d, from, vldrbq_z_s8(weights + 3 * n, there));
  }
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

#else

#if defined(__ARM_FEATURE_DSP)

#include <arm_acle.h>

#define GUNSHOT_DOT_BLOCK 4
typedef struct {
  int16x2_t even, odd;
} gunshot_block;

static inline gunshot_block block(const int8_t *x) {
  int32_t bytes;
  gunshot_block block;
  memcpy(&bytes, x, sizeof bytes); /* one load, aligned or not */
  block.even = __sxtb16(bytes);
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(block.odd) : "r"(bytes));
  return block;
}

static inline int32_t add(gunshot_block x, gunshot_block weights, int32_t sum) {
  return __smlad(x.odd, weights.odd, __smlad(x.even, weights.even, sum));
}

#else

#define GUNSHOT_DOT_BLOCK 1
typedef int32_t gunshot_block;

static inline gunshot_block block(const int8_t *x) { return *x; }

static inline int32_t add(gunshot_block x, gunshot_block weights, int32_t sum) { return sum + x * weights; }

#endif

static inline int32_t dot(const int8_t *x, const int8_t *weights, int32_t n, int32_t sum) {
  const int8_t *end = x + n;
  for (; end - x >= GUNSHOT_DOT_BLOCK; x += GUNSHOT_DOT_BLOCK, weights += GUNSHOT_DOT_BLOCK) {
    sum = add(block(x), block(weights), sum);
  }
  for (; x < end; x++, weights++) sum += *x * *weights;
  return sum;
}

static inline void dot4(const int8_t *x, const int8_t *weights, int32_t n, int32_t *sums) {
  const int8_t *end = x + n;
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  for (; end - x >= GUNSHOT_DOT_BLOCK; x += GUNSHOT_DOT_BLOCK, weights += GUNSHOT_DOT_BLOCK) {
    const gunshot_block from = block(x);
    a = add(from, block(weights), a);
    b = add(from, block(weights + n), b);
    c = add(from, block(weights + 2 * n), c);
    d = add(from, block(weights + 3 * n), d);
  }
  for (; x < end; x++, weights++) {
    a += *x * weights[0];
    b += *x * weights[n];
    c += *x * weights[2 * n];
    d += *x * weights[3 * n];
  }
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

#endif

#endif
