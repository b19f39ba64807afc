/* A frame of samples to log-mel in dB re full scale, and to the model's int8 codes: gunshot/features.py in float32. */
#ifndef GUNSHOT_LOG_MEL_H
#define GUNSHOT_LOG_MEL_H

#include <stdint.h>

/* 10 log10(max(AMIN, M |rfft(hann x)|^2)) of N_FFT samples as shares of full scale; db: N_MELS. Scratch is static:
 * one caller at a time. */
void gunshot_log_mel(const int16_t *samples, float *db);

/* round(db / INPUT_SCALE) + INPUT_ZERO_POINT, halves to even, saturated; N_MELS. */
void gunshot_log_mel_codes(const float *db, int8_t *codes);

#endif
