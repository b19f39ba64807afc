/* src/log_mel.c in lanes, and how far a frame rises. */
#include <math.h>
#include <string.h>

#include "lanes.h"
#include "tables.h"

enum { HALF = GUNSHOT_N_FFT / 2 };

#define FULL_SCALE 32768.0f

static gunshot_lanes frame[GUNSHOT_N_FFT], spectrum[GUNSHOT_N_FFT];

/* The samples of LANES frames, less their means, windowed, to `frame`; the means to `offset`. */
static void windowed(const int16_t *samples, gunshot_lanes *offset) {
  int32_t mean[GUNSHOT_LANES];
  for (int f = 0; f < GUNSHOT_LANES; f++) {
    int32_t sum = 0;
    for (int i = 0; i < GUNSHOT_N_FFT; i++) sum += samples[f * GUNSHOT_HOP_LENGTH + i];
    (*offset)[f] = (float)(mean[f] = sum / GUNSHOT_N_FFT);
  }
  for (int i = 0; i < GUNSHOT_N_FFT; i++) {
    for (int f = 0; f < GUNSHOT_LANES; f++) frame[i][f] = (float)(samples[f * GUNSHOT_HOP_LENGTH + i] - mean[f]);
    frame[i] *= gunshot_window[i];
  }
}

static void power(const int16_t *samples) {
  gunshot_lanes offset;
  windowed(samples, &offset);
  gunshot_lanes_fft(frame, spectrum);
  spectrum[0] += offset * (GUNSHOT_N_FFT / 2 / FULL_SCALE);
  spectrum[2] -= offset * (GUNSHOT_N_FFT / 4 / FULL_SCALE);
  for (int k = 1; k < HALF; k++) {
    frame[k] = spectrum[2 * k] * spectrum[2 * k] + spectrum[2 * k + 1] * spectrum[2 * k + 1];
  }
  frame[0] = spectrum[0] * spectrum[0];
  frame[HALF] = spectrum[1] * spectrum[1];
}

enum { MANTISSA = 4, REST = 23 - MANTISSA, PLACES = 1 << (8 + MANTISSA) }; /* powers have no sign */

/* Floats of an exponent and MANTISSA bits more are a place, in ascending order. Of each is known how many codes its
 * lowest reaches, and how many more its floats may at most: a step, without a branch that none could foretell. */
static float least[256] = GUNSHOT_CODE_POWERS;
static uint8_t reached_at[PLACES];
static int32_t steps;

static void know_places(void) {
  if (steps > 0) return;
  least[255] = INFINITY;
  int32_t most = 1;
  for (int32_t i = 0, reached = 0; i < PLACES; i++) {
    const uint32_t bits = (uint32_t)i << REST;
    float lowest;
    memcpy(&lowest, &bits, sizeof lowest);
    while (reached < 255 && lowest >= least[reached]) reached++;
    reached_at[i] = (uint8_t)reached;
    if (i > 0 && reached - reached_at[i - 1] > most) most = reached - reached_at[i - 1];
  }
  steps = most;
}

static int8_t code(float mel) {
  uint32_t bits;
  memcpy(&bits, &mel, sizeof bits);
  int32_t reached = reached_at[bits >> REST];
  for (int32_t i = 0; i < steps; i++) reached += mel >= least[reached];
  return (int8_t)(reached - 128);
}

/* What gunshot_mel gives of LANES frames, a lane each. */
static void mels(const int16_t *samples, gunshot_lanes *mel) {
  power(samples);
  const float *weight = gunshot_weights;
  for (int m = 0; m < GUNSHOT_N_MELS; m++) {
    gunshot_lanes sum = {0};
    const gunshot_lanes *bin = frame + gunshot_bands[m].first;
    for (int k = 0; k < gunshot_bands[m].count; k++) sum += *weight++ * *bin++;
    mel[m] = sum;
  }
}

void gunshot_lanes_codes(const int16_t *samples, int8_t codes[GUNSHOT_LANES][GUNSHOT_N_MELS]) {
  gunshot_lanes mel[GUNSHOT_N_MELS];
  know_places();
  mels(samples, mel);
  for (int m = 0; m < GUNSHOT_N_MELS; m++) {
    for (int f = 0; f < GUNSHOT_LANES; f++) codes[f][m] = code(mel[m][f]);
  }
}

/* As plain loops, which a compiler turns to vectors: PAST times 255 fits 16 bits. */
void gunshot_lanes_rise(const int8_t *codes, int16_t *rise) {
  int16_t above[GUNSHOT_N_MELS];
  for (int band = 0; band < GUNSHOT_N_MELS; band++) {
    int16_t sum = (int16_t)(GUNSHOT_DETECTOR_PAST * codes[GUNSHOT_DETECTOR_PAST * GUNSHOT_N_MELS + band]);
    for (int i = 0; i < GUNSHOT_DETECTOR_PAST; i++) sum = (int16_t)(sum - codes[i * GUNSHOT_N_MELS + band]);
    above[band] = sum > 0 ? sum : 0;
  }
  memset(rise, 0, GUNSHOT_DETECTOR_GROUPS * sizeof *rise);
  for (int band = 0; band < GUNSHOT_N_MELS; band++) {
    int16_t *group = &rise[band * GUNSHOT_DETECTOR_GROUPS / GUNSHOT_N_MELS];
    *group = (int16_t)(*group + above[band]);
  }
}
