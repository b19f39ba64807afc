#include "measures.h"

#include <math.h>

#include "constants.h"

static const float LEAST_PA = 20e-6f, FULL_SCALE = 32768.0f;

uint16_t gunshot_score(int32_t logit_sum) {
  float logit = (float)logit_sum * GUNSHOT_OUTPUT_SCALE / GUNSHOT_DETECTOR_WINDOWS;
  float score = 1.0f / (1.0f + expf(-(GUNSHOT_CALIBRATION_SLOPE * logit + GUNSHOT_CALIBRATION_INTERCEPT)));
  return (uint16_t)(score * 65535.0f + 0.5f);
}

int16_t gunshot_spl_db(float square) {
  const float unit = GUNSHOT_FULL_SCALE_PA / (FULL_SCALE * LEAST_PA);
  return (int16_t)lrintf(100.0f * log10f(fmaxf(square, 1.0f) * unit * unit));
}
