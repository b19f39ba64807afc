/* arm_rfft_fast_f32 of CMSIS-DSP, of 512 numbers, in lanes. There a transform of 256 complex numbers is one of four
 * columns of 64 (arm_cfft_radix8by4_f32), each of which is two steps of eight (arm_radix8_butterfly_f32). */
#include "dsp/transform_functions.h"
#include "lanes.h"
#include "tables.h"

_Static_assert(GUNSHOT_N_FFT == 512, "lengths of other factors are not written here: features.n_fft must be 512");

enum {
  N = GUNSHOT_N_FFT / 2, /* complex numbers */
  COLUMN = N / 4,
  APART = 4 /* twiddle factors of the table, of 256, to the next of 64 */
};

static const float C81 = 0.70710678118f;

typedef struct {
  gunshot_lanes re, im;
} number;

/* x conj(w), as it is rounded there. */
static inline number turned(number x, const float *w) {
  return (number){x.re * w[0] + x.im * w[1], x.im * w[0] - x.re * w[1]};
}

static inline number sum(number a, number b) { return (number){a.re + b.re, a.im + b.im}; }

static inline number difference(number a, number b) { return (number){a.re - b.re, a.im - b.im}; }

/* a - i b and a + i b. */
static inline number minus_i(number a, number b) { return (number){a.re + b.im, a.im - b.re}; }

static inline number plus_i(number a, number b) { return (number){a.re - b.im, a.im + b.re}; }

/* Eight numbers `step` apart, in place; factors of the last seven by their distance in the table, or none: 0. */
static inline void eight(number *x, int step, const float *twiddles, int distance) {
  const number a = sum(x[0], x[4 * step]), e = difference(x[0], x[4 * step]);
  const number b = sum(x[step], x[5 * step]), f = difference(x[step], x[5 * step]);
  const number c = sum(x[2 * step], x[6 * step]), g = difference(x[2 * step], x[6 * step]);
  const number d = sum(x[3 * step], x[7 * step]), h = difference(x[3 * step], x[7 * step]);
  const number ac = sum(a, c), bd = sum(b, d), a_c = difference(a, c), b_d = difference(b, d);
  const number f_h = {(f.re - h.re) * C81, (f.im - h.im) * C81}, fh = {(f.re + h.re) * C81, (f.im + h.im) * C81};
  const number e1 = sum(e, f_h), e3 = difference(e, f_h), g1 = sum(g, fh), g3 = difference(g, fh);
  const number out[8] = {sum(ac, bd),     minus_i(e1, g1), minus_i(a_c, b_d), plus_i(e3, g3),
                         difference(ac, bd), minus_i(e3, g3), plus_i(a_c, b_d),  plus_i(e1, g1)};
  x[0] = out[0];
  for (int k = 1; k < 8; k++) x[k * step] = distance ? turned(out[k], twiddles + 2 * k * distance) : out[k];
}

static void column(number *x, const float *twiddles) {
  for (int j = 0; j < 8; j++) eight(x + j, 8, twiddles, APART * j);
  for (int j = 0; j < COLUMN; j += 8) eight(x + j, 1, twiddles, 0);
}

/* Number i of each column: to be turned by i, 2 i and 3 i in columns 1 to 3. */
static inline void top(const number *x, int i, number *out) {
  const number a = x[i], b = x[i + COLUMN], c = x[i + 2 * COLUMN], d = x[i + 3 * COLUMN];
  const number ac = sum(a, c), a_c = difference(a, c);
  out[0] = sum(sum(ac, b), d);
  out[1] = (number){a_c.re + b.im - d.im, a_c.im - b.re + d.re};
  out[2] = difference(difference(ac, b), d);
  out[3] = (number){a_c.re - b.im + d.im, a_c.im + b.re - d.re};
}

/* The same of number COLUMN - i, by the factors of i: they are symmetrical. */
static inline void bottom(number *x, int i, const float *w1, const float *w2, const float *w3) {
  const int at = COLUMN - i;
  const number a = x[at], b = x[at + COLUMN], c = x[at + 2 * COLUMN], d = x[at + 3 * COLUMN];
  const number ac = sum(a, c), a_c = difference(a, c);
  const number p = {b.im - d.im + a_c.re, a.im - c.im - b.re + d.re};
  const number q = difference(difference(ac, b), d);
  const number r = {b.im - d.im - a_c.re, d.re - b.re - a_c.im};
  x[at] = sum(sum(ac, b), d);
  x[at + COLUMN] = (number){p.re * w1[1] + p.im * w1[0], p.im * w1[1] - p.re * w1[0]};
  x[at + 2 * COLUMN] = (number){q.im * w2[1] - q.re * w2[0], -q.im * w2[0] - q.re * w2[1]};
  x[at + 3 * COLUMN] = (number){r.re * w3[1] + r.im * w3[0], r.im * w3[1] - r.re * w3[0]};
}

static void four_columns(number *x, const float *twiddles) {
  number out[4];
  for (int i = 0; i <= COLUMN / 2; i++) {
    const float *w1 = twiddles + 2 * i, *w2 = twiddles + 4 * i, *w3 = twiddles + 6 * i;
    top(x, i, out);
    x[i] = out[0];
    x[i + COLUMN] = i ? turned(out[1], w1) : out[1];
    x[i + 2 * COLUMN] = i ? turned(out[2], w2) : out[2];
    x[i + 3 * COLUMN] = i ? turned(out[3], w3) : out[3];
    if (i > 0 && i < COLUMN / 2) bottom(x, i, w1, w2, w3);
  }
  for (int i = 0; i < 4; i++) column(x + i * COLUMN, twiddles);
}

void gunshot_lanes_fft(gunshot_lanes *in, gunshot_lanes *spectrum) {
  arm_rfft_fast_instance_f32 fft;
  GUNSHOT_FFT_INIT(&fft); /* sets pointers */
  number *x = (number *)in, *out = (number *)spectrum;
  four_columns(x, fft.Sint.pTwiddle);
  for (int i = 0; i < fft.Sint.bitRevLength; i += 2) {
    number *a = x + fft.Sint.pBitRevTable[i] / 8, *b = x + fft.Sint.pBitRevTable[i + 1] / 8, kept = *a;
    *a = *b;
    *b = kept;
  }
  const gunshot_lanes re = x[0].re + x[0].re, im = x[0].im + x[0].im;
  out[0] = (number){0.5f * (re + im), 0.5f * (re - im)};
  for (int k = 1; k < N; k++) {
    const float *w = fft.pTwiddleRFFT + 2 * k;
    const number a = x[k], b = x[N - k];
    const gunshot_lanes less = b.re - a.re, more = b.im + a.im;
    out[k].re = 0.5f * (a.re + b.re + w[0] * less + w[1] * more);
    out[k].im = 0.5f * (a.im - b.im + w[1] * less - w[0] * more);
  }
}
