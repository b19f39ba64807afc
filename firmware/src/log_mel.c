#include "log_mel.h"

#include <math.h>

#include "dsp/transform_functions.h"
#include "tables.h"

enum { HALF = GUNSHOT_N_FFT / 2 };

static float frame[GUNSHOT_N_FFT], spectrum[GUNSHOT_N_FFT];

/* The power of the frame's spectrum, HALF + 1 bins, to the frame itself. */
static void power(void) {
  arm_rfft_fast_instance_f32 fft;
  GUNSHOT_FFT_INIT(&fft); /* sets pointers; of one length, since that for any would bring the tables of all */
  arm_rfft_fast_f32(&fft, frame, spectrum, 0);
  for (int k = 1; k < HALF; k++) {
    frame[k] = spectrum[2 * k] * spectrum[2 * k] + spectrum[2 * k + 1] * spectrum[2 * k + 1];
  }
  frame[0] = spectrum[0] * spectrum[0]; /* real, as that of the last bin, which lies beside it */
  frame[HALF] = spectrum[1] * spectrum[1];
}

void gunshot_log_mel(const int16_t *samples, float *db) {
  for (int i = 0; i < GUNSHOT_N_FFT; i++) {
    frame[i] = samples[i] * gunshot_window[i];
  }
  power();
  const float *weight = gunshot_weights;
  for (int m = 0; m < GUNSHOT_N_MELS; m++) {
    float sum = 0;
    const float *bin = frame + gunshot_bands[m].first;
    for (int k = 0; k < gunshot_bands[m].count; k++) {
      sum += *weight++ * *bin++;
    }
    db[m] = 10 * log10f(sum > GUNSHOT_AMIN ? sum : GUNSHOT_AMIN);
  }
}

void gunshot_log_mel_codes(const float *db, int8_t *codes) {
  for (int m = 0; m < GUNSHOT_N_MELS; m++) {
    float code = rintf(db[m] / GUNSHOT_INPUT_SCALE) + GUNSHOT_INPUT_ZERO_POINT;
    codes[m] = (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
  }
}
