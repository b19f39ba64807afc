/* A model behind one interface; each backend (compiled, tflm, forest) defines these once. */
#ifndef GUNSHOT_MODEL_API_H
#define GUNSHOT_MODEL_API_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The bytes that Init takes: the .tflite (tflm), the generated weights (compiled). */
typedef struct {
  const uint8_t *bytes;
  size_t size;
} gunshot_artifact;

extern const gunshot_artifact gunshot_model_artifact; /* the promoted one, in flash */
extern const size_t gunshot_model_arena_bytes;        /* the smallest arena that Init takes, aligned to 16 */

/* Check the artifact, its CRC32 before anything else, and the arena. The artifact and arena are used until the next
 * Init. */
GUNSHOT_CHECKED gunshot_status gunshot_model_init(gunshot_artifact artifact, uint8_t *arena, size_t arena_bytes);

/* A stream begins: the next window follows none. So it is after an Init. */
void gunshot_model_reset(void);

/* Score a stream's next window, DETECTOR_HOP frames after the one before: codes of N_FRAMES frames, frame by frame as
 * they come in, each of N_MELS bands, low to high. `logit` is the logit for GUN in steps of the model's output scale:
 * output code minus zero point, as in gunshot/models/model.py. It is that of the window alone; a backend may keep what
 * it computed of the frames that windows share. One with vectors asks site.h, where a site's profile is used. */
GUNSHOT_CHECKED gunshot_status gunshot_model_score(const int8_t *codes, int16_t *logit);

/* Write the shape of a window's vectors, by which site.h decides: [positions][width]. It is 0 and 0 where the backend
 * has none to show, and so no site verifier to ask. Known without an Init. */
void gunshot_model_vectors(size_t *positions, size_t *width);

#ifdef __cplusplus
}
#endif

#endif
