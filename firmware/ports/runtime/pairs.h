/* Products of pairs of 16-bit numbers, eight sums at once: whole numbers, the same on each machine. */
#ifndef GUNSHOT_PAIRS_H
#define GUNSHOT_PAIRS_H

#include <stdint.h>
#include <string.h>

enum { EIGHT = 8 };

typedef int32_t eight __attribute__((vector_size(EIGHT * sizeof(int32_t))));

static inline eight widen_eight(const int16_t *x) {
  typedef int16_t half __attribute__((vector_size(EIGHT * sizeof(int16_t))));
  half loaded;
  memcpy(&loaded, x, sizeof loaded);
  return __builtin_convertvector(loaded, eight);
}

/* add_pair: to each of eight sums x[0] w[0] + x[1] w[1], of its own pair of `w`. doubled_high: (2 a b + 2^31) / 2^32.
 * saturated: eight numbers as int8. */
#if defined(__AVX2__)

#include <immintrin.h>

static inline eight add_pair(eight sums, const int16_t *x, const int16_t *w) {
  int32_t pair;
  memcpy(&pair, x, sizeof pair);
  return sums + (eight)_mm256_madd_epi16(_mm256_set1_epi32(pair), _mm256_load_si256((const __m256i *)w));
}

static inline eight doubled_high(eight a, eight b) {
  const __m256i half = _mm256_set1_epi64x(1 << 30), x = (__m256i)a, y = (__m256i)b;
  const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, y), half);
  const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(y, 32)), half);
  return (eight)_mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xAA);
}

static inline void saturated(eight codes, int8_t *out) {
  const __m256i x = (__m256i)codes;
  const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  _mm_storel_epi64((__m128i *)out, _mm_packs_epi16(halves, halves));
}

#elif defined(__ARM_NEON)

#include <arm_neon.h>

static inline eight add_pair(eight sums, const int16_t *x, const int16_t *w) {
  const int16x8x2_t pairs = vld2q_s16(w);
  int32x4_t low, high;
  memcpy(&low, &sums, sizeof low);
  memcpy(&high, (const char *)&sums + sizeof low, sizeof high);
  low = vmlal_n_s16(vmlal_n_s16(low, vget_low_s16(pairs.val[0]), x[0]), vget_low_s16(pairs.val[1]), x[1]);
  high = vmlal_n_s16(vmlal_n_s16(high, vget_high_s16(pairs.val[0]), x[0]), vget_high_s16(pairs.val[1]), x[1]);
  memcpy(&sums, &low, sizeof low);
  memcpy((char *)&sums + sizeof low, &high, sizeof high);
  return sums;
}

static inline eight doubled_high(eight a, eight b) {
  int32x4_t x[2], y[2];
  memcpy(x, &a, sizeof a);
  memcpy(y, &b, sizeof b);
  for (int i = 0; i < 2; i++) x[i] = vqrdmulhq_s32(x[i], y[i]);
  memcpy(&a, x, sizeof a);
  return a;
}

static inline void saturated(eight codes, int8_t *out) {
  int32x4_t x[2];
  memcpy(x, &codes, sizeof codes);
  vst1_s8(out, vqmovn_s16(vcombine_s16(vqmovn_s32(x[0]), vqmovn_s32(x[1]))));
}

#else

#if defined(__SSE2__)

#include <emmintrin.h>

static inline eight add_pair(eight sums, const int16_t *x, const int16_t *w) {
  int32_t pair;
  memcpy(&pair, x, sizeof pair);
  __m128i products[2];
  for (int i = 0; i < 2; i++) products[i] = _mm_madd_epi16(_mm_set1_epi32(pair), ((const __m128i *)w)[i]);
  eight both;
  memcpy(&both, products, sizeof both);
  return sums + both;
}

#else

static inline eight add_pair(eight sums, const int16_t *x, const int16_t *w) {
  for (int i = 0; i < EIGHT; i++) sums[i] += x[0] * w[2 * i] + x[1] * w[2 * i + 1];
  return sums;
}

#endif

static inline eight doubled_high(eight a, eight b) {
  for (int i = 0; i < EIGHT; i++) a[i] = (int32_t)(((int64_t)a[i] * b[i] + (1 << 30)) >> 31);
  return a;
}

static inline void saturated(eight codes, int8_t *out) {
  for (int i = 0; i < EIGHT; i++) out[i] = (int8_t)(codes[i] > 127 ? 127 : codes[i] < -128 ? -128 : codes[i]);
}

#endif

#endif
