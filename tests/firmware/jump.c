/* A model that Python can follow, in the place of a trained one. */
#include "jump.h"

#include "constants.h"
#include "model.h"
#include "site.h"

bool jump_fails;

const gunshot_artifact gunshot_model_artifact = {NULL, 0};
const size_t gunshot_model_arena_bytes = 0;
gunshot_status gunshot_model_init(gunshot_artifact artifact, uint8_t *arena, size_t arena_bytes) {
  return artifact.bytes == NULL && arena != NULL && arena_bytes == GUNSHOT_ARENA_BYTES ? GUNSHOT_OK : GUNSHOT_ARENA;
}

void gunshot_model_reset(void) {}

/* Of a window it has one vector of one code, 0. */
void gunshot_model_vectors(size_t *positions, size_t *width) { *positions = *width = 1; }

/* How far the loudest frame where training has shots is above the mean of all; driven.py has the same. */
gunshot_status gunshot_model_score(const int8_t *codes, int16_t *logit) {
  int32_t loudest = INT32_MIN, all = 0;
  if (jump_fails) return GUNSHOT_NOT_READY;
  for (int32_t t = 0; t < GUNSHOT_N_FRAMES; t++) {
    int32_t sum = 0;
    for (int32_t band = 0; band < GUNSHOT_N_MELS; band++) sum += codes[t * GUNSHOT_N_MELS + band];
    all += sum;
    if (t >= GUNSHOT_DETECTOR_FIRST && t < GUNSHOT_DETECTOR_STOP && sum > loudest) loudest = sum;
  }
  int32_t above = loudest * GUNSHOT_N_FRAMES - all;
  const int16_t alone = (int16_t)((above > 0 ? above / (GUNSHOT_N_FRAMES * GUNSHOT_N_MELS) : 0) - 30);
  const int8_t vector[1] = {0};
  *logit = gunshot_site_logit(alone, vector, 1, 1);
  return GUNSHOT_OK;
}
