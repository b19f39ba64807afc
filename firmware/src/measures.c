#include "measures.h"

#include "constants.h"

enum {
  BITS = 16,        /* of a logarithm, after its point */
  TENTHS = 1972830, /* of dB in a factor of 2, 100 log10(2), with so many bits after its point */
  MOST_SCORE = 65535
};

static const float FACTORS[] = GUNSHOT_SCORE_FACTORS;

/* Products alone, no exponential: C libraries round those each in its own way. */
uint16_t gunshot_score(int32_t logit_sum) {
  uint32_t steps = logit_sum < 0 ? -(uint32_t)logit_sum : (uint32_t)logit_sum;
  float product = 1.0f;
  for (uint32_t i = 0; i < sizeof FACTORS / sizeof *FACTORS; i++) {
    if (steps >> i & 1) product *= FACTORS[i];
  }
  float against = logit_sum < 0 ? GUNSHOT_SCORE_AGAINST / product : GUNSHOT_SCORE_AGAINST * product;
  return (uint16_t)(MOST_SCORE / (1.0f + against) + 0.5f);
}

/* The binary logarithm of x > 0, with BITS bits after its point: a square has twice the logarithm. */
static int64_t log2_of(uint64_t x) {
  int64_t whole = 63 - __builtin_clzll(x), out = whole;
  uint64_t y = whole > 31 ? x >> (whole - 31) : x << (31 - whole); /* 1 to 2, with 31 bits after its point */
  for (int32_t i = 0; i < BITS; i++) {
    y = y * y >> 31;
    out = 2 * out + (int64_t)(y >> 32);
    y >>= y >> 32;
  }
  return out;
}

int16_t gunshot_spl_db(uint64_t squares, uint64_t count) {
  int64_t octaves = squares > count ? log2_of(squares) - log2_of(count) : 0;
  int64_t tenths = octaves * TENTHS + (int64_t)GUNSHOT_SPL_OFFSET * (1 << BITS);
  return (int16_t)((tenths + (INT64_C(1) << (2 * BITS - 1))) >> 2 * BITS);
}
