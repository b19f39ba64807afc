/* A frame of samples to the int8 codes of its log-mel: gunshot/features.py in float32. */
#ifndef GUNSHOT_LOG_MEL_H
#define GUNSHOT_LOG_MEL_H

#include <stdint.h>

/* M |rfft(hann x)|^2 of N_FFT samples as shares of full scale; mel: N_MELS. Scratch is static: one caller at a time. */
void gunshot_mel(const int16_t *samples, float *mel);

/* round(10 log10(max(amin, mel)) / INPUT_SCALE) + INPUT_ZERO_POINT, saturated, as Python rounds it; N_MELS. */
void gunshot_log_mel_codes(const float *mel, int8_t *codes);

#endif
