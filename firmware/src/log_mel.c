#include "log_mel.h"

#include "dsp/transform_functions.h"
#include "tables.h"

enum { HALF = GUNSHOT_N_FFT / 2 };

#define FULL_SCALE 32768.0f

static float frame[GUNSHOT_N_FFT], spectrum[GUNSHOT_N_FFT];

static int32_t mean(const int16_t *samples) {
  int32_t sum = 0;
  for (int i = 0; i < GUNSHOT_N_FFT; i++) {
    sum += samples[i];
  }
  return sum / GUNSHOT_N_FFT;
}

/* The windowed samples' power spectrum, HALF + 1 bins, to `frame`. A microphone's offset would drown quiet bands in
 * what the FFT rounds, so it is taken out before; of a Hann window it leaves the bins 0 and 1 alone, where it is put
 * back. */
static void power(const int16_t *samples) {
  int32_t offset = mean(samples);
  for (int i = 0; i < GUNSHOT_N_FFT; i++) {
    frame[i] = (samples[i] - offset) * gunshot_window[i];
  }
  arm_rfft_fast_instance_f32 fft;
  GUNSHOT_FFT_INIT(&fft); /* sets pointers; of one length, since that for any would bring the tables of all */
  arm_rfft_fast_f32(&fft, frame, spectrum, 0);
  spectrum[0] += offset * (GUNSHOT_N_FFT / 2 / FULL_SCALE);
  spectrum[2] -= offset * (GUNSHOT_N_FFT / 4 / FULL_SCALE);
  for (int k = 1; k < HALF; k++) {
    frame[k] = spectrum[2 * k] * spectrum[2 * k] + spectrum[2 * k + 1] * spectrum[2 * k + 1];
  }
  frame[0] = spectrum[0] * spectrum[0]; /* real, as that of the last bin, which lies beside it */
  frame[HALF] = spectrum[1] * spectrum[1];
}

void gunshot_mel(const int16_t *samples, float *mel) {
  power(samples);
  const float *weight = gunshot_weights;
  for (int m = 0; m < GUNSHOT_N_MELS; m++) {
    float sum = 0;
    const float *bin = frame + gunshot_bands[m].first;
    for (int k = 0; k < gunshot_bands[m].count; k++) {
      sum += *weight++ * *bin++;
    }
    mel[m] = sum;
  }
}

/* No logarithm: that of one library rounds otherwise than that of the next, and codes would differ. */
void gunshot_log_mel_codes(const float *mel, int8_t *codes) {
  static const float least[255] = GUNSHOT_CODE_POWERS; /* of each code above the lowest, ascending */
  for (int m = 0; m < GUNSHOT_N_MELS; m++) {
    int reached = 0;
    for (int step = 128; step > 0; step /= 2) {
      reached += mel[m] >= least[reached + step - 1] ? step : 0;
    }
    codes[m] = (int8_t)(reached - 128);
  }
}
