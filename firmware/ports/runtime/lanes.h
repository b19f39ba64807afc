/* Several frames side by side, a frame a lane of a vector. Each lane's arithmetic is that of src/log_mel.c and of
 * CMSIS-DSP's FFT, operation for operation, so that it rounds alike: nothing here depends on what other lanes hold. */
#ifndef GUNSHOT_LANES_H
#define GUNSHOT_LANES_H

#include <stdint.h>

#include "constants.h"

#if defined(__AVX512F__)
#define GUNSHOT_LANES 16
#elif defined(__AVX__)
#define GUNSHOT_LANES 8
#else
#define GUNSHOT_LANES 4
#endif

typedef float gunshot_lanes __attribute__((vector_size(GUNSHOT_LANES * sizeof(float))));

/* The samples that LANES frames hold. */
#define GUNSHOT_LANES_SAMPLES (GUNSHOT_N_FFT + (GUNSHOT_LANES - 1) * GUNSHOT_HOP_LENGTH)

/* The FFT of N_FFT real numbers in `x`, which is overwritten, to `spectrum`: arm_rfft_fast_f32. */
void gunshot_lanes_fft(gunshot_lanes *x, gunshot_lanes *spectrum);
/* The codes of LANES frames of `samples`, HOP_LENGTH apart: what gunshot_mel and gunshot_log_mel_codes give of each. */
void gunshot_lanes_codes(const int16_t *samples, int8_t codes[GUNSHOT_LANES][GUNSHOT_N_MELS]);
/* gunshot_detector_rise of src/detector.h, bands side by side. */
void gunshot_lanes_rise(const int8_t *codes, int16_t *rise);

#endif
