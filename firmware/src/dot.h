/* Sums of products of int8, where nearly all the time of a network goes: in C, with the two 16-bit multipliers of
 * Cortex-M4 and M7, and with Helium. Whole numbers: the same sums in each. */
#ifndef GUNSHOT_DOT_H
#define GUNSHOT_DOT_H

#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_MVE)

#include <arm_mve.h>

static inline int32_t dot(const int8_t *x, const int8_t *weights, int32_t n, int32_t sum) {
  for (; n > 0; n -= 16, x += 16, weights += 16) {
    const mve_pred16_t some = vctp8q((uint32_t)n); /* the last 16 need not be there */
    sum = vmladavaq_s8(sum, vldrbq_z_s8(x, some), vldrbq_z_s8(weights, some));
  }
  return sum;
}

static inline void dot4(const int8_t *x, const int8_t *weights, int32_t next, int32_t n, int32_t *sums) {
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  for (; n > 0; n -= 16, x += 16, weights += 16) {
    const mve_pred16_t some = vctp8q((uint32_t)n);
    const int8x16_t from = vldrbq_z_s8(x, some);
    a = vmladavaq_s8(a, from, vldrbq_z_s8(weights, some));
    b = vmladavaq_s8(b, from, vldrbq_z_s8(weights + next, some));
    c = vmladavaq_s8(c, from, vldrbq_z_s8(weights + 2 * next, some));
    d = vmladavaq_s8(d, from, vldrbq_z_s8(weights + 3 * next, some));
  }
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

#else

/* x weights of n each, added to `sum`. */
static inline int32_t dot(const int8_t *x, const int8_t *weights, int32_t n, int32_t sum) {
  for (int32_t i = 0; i < n; i++) sum += x[i] * weights[i];
  return sum;
}

#if defined(__ARM_FEATURE_DSP)

#include <arm_acle.h>

/* Bytes 0 and 2 of four as two int16, and bytes 1 and 3. */
static inline int16x2_t even(int32_t bytes) { return __sxtb16((int8x4_t)bytes); }

static inline int16x2_t odd(int32_t bytes) {
  int16x2_t halves;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(bytes));
  return halves;
}

static inline int32_t four(const int8_t *at) {
  int32_t bytes;
  memcpy(&bytes, at, 4); /* one load, aligned or not */
  return bytes;
}

static inline int32_t add4(int16x2_t x02, int16x2_t x13, const int8_t *weights, int32_t sum) {
  const int32_t bytes = four(weights);
  return __smlad(x13, odd(bytes), __smlad(x02, even(bytes), sum));
}

#endif

/* As dot, with the weights of four filters, each `next` behind the one before: what is loaded of x serves four. */
static inline void dot4(const int8_t *x, const int8_t *weights, int32_t next, int32_t n, int32_t *sums) {
  const int8_t *w0 = weights, *w1 = w0 + next, *w2 = w1 + next, *w3 = w2 + next;
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3], i = 0;
#if defined(__ARM_FEATURE_DSP)
  for (; i + 4 <= n; i += 4) {
    const int32_t bytes = four(x + i);
    const int16x2_t x02 = even(bytes), x13 = odd(bytes);
    a = add4(x02, x13, w0 + i, a);
    b = add4(x02, x13, w1 + i, b);
    c = add4(x02, x13, w2 + i, c);
    d = add4(x02, x13, w3 + i, d);
  }
#endif
  for (; i < n; i++) {
    a += x[i] * w0[i];
    b += x[i] * w1[i];
    c += x[i] * w2[i];
    d += x[i] * w3[i];
  }
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

#endif

#endif
