/* model.h by the Random Forest: its trees are code, what their leaves say is the artifact, and it needs no arena. */
#include "constants.h"
#include "crc32.h"
#include "forest.h"
#include "model.h"

_Static_assert(GUNSHOT_FOREST_FEATURES == GUNSHOT_N_MELS * GUNSHOT_N_FRAMES, "the trees read the codes of a window");

static const uint8_t *leaves; /* NULL until an Init succeeds */

const gunshot_artifact gunshot_model_artifact = {gunshot_forest_leaves, sizeof gunshot_forest_leaves};
const size_t gunshot_model_arena_bytes = 0;

gunshot_status gunshot_model_init(gunshot_artifact artifact, uint8_t *arena, size_t arena_bytes) {
  (void)arena;
  (void)arena_bytes;
  leaves = NULL;
  if (!artifact.bytes || artifact.size < sizeof gunshot_forest_leaves) return GUNSHOT_TRUNCATED;
  if (gunshot_crc32(artifact.bytes, artifact.size) != GUNSHOT_FOREST_LEAVES_CRC32) return GUNSHOT_CRC;
  leaves = artifact.bytes;
  return GUNSHOT_OK;
}

void gunshot_model_reset(void) {} /* each window is computed anew */

void gunshot_model_vectors(size_t *positions, size_t *width) { *positions = *width = 0; }

gunshot_status gunshot_model_score(const int8_t *codes, int16_t *logit) {
  if (!leaves) return GUNSHOT_NOT_READY;
  const int32_t votes = gunshot_forest_votes(codes, leaves);
  int above = 0;
  while (above < GUNSHOT_FOREST_LOGITS && votes >= gunshot_forest_least_votes[above]) above++;
  *logit = (int16_t)(GUNSHOT_FOREST_FIRST_LOGIT + above);
  return GUNSHOT_OK;
}
