/* model.h by C that is generated from the .tflite: no interpreter. */
#include <stdalign.h>
#include <stdbool.h>
#include <string.h>

#include "constants.h"
#include "crc32.h"
#include "model.h"
#include "network.h"
#include "site.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the weights are checked and read as little-endian");

enum {
  NEW = GUNSHOT_NETWORK_NEW,
  KEPT = GUNSHOT_NETWORK_POSITIONS - NEW, /* vectors that a window shares with the one before */
  VECTOR = GUNSHOT_NETWORK_VECTOR
};

_Static_assert(KEPT == 0 || NEW * GUNSHOT_NETWORK_STRIDE == GUNSHOT_DETECTOR_HOP,
               "the network is generated for windows that are DETECTOR_HOP frames apart");

static const gunshot_network *network; /* NULL until an Init succeeds */
static int8_t *memory;
static int8_t vectors[GUNSHOT_NETWORK_POSITIONS][VECTOR]; /* of the last window */
static bool begun;                                        /* whether there was one */

const gunshot_artifact gunshot_model_artifact = {(const uint8_t *)&gunshot_network_weights,
                                                 sizeof gunshot_network_weights};
const size_t gunshot_model_arena_bytes = GUNSHOT_NETWORK_ARENA_BYTES;

static bool intact(gunshot_artifact artifact) {
  uint32_t stated;
  memcpy(&stated, artifact.bytes, sizeof stated);
  return stated == gunshot_crc32(artifact.bytes + sizeof stated, artifact.size - sizeof stated);
}

/* Whether what it states of input and output is what the features are made for. */
static gunshot_status fits(const gunshot_network *compiled) {
  if (compiled->n_frames != GUNSHOT_N_FRAMES || compiled->n_mels != GUNSHOT_N_MELS) return GUNSHOT_SHAPE;
  if (compiled->input_scale != GUNSHOT_INPUT_SCALE || compiled->input_zero_point != GUNSHOT_INPUT_ZERO_POINT ||
      compiled->output_scale != GUNSHOT_OUTPUT_SCALE || compiled->output_zero_point != GUNSHOT_OUTPUT_ZERO_POINT) {
    return GUNSHOT_TYPE;
  }
  return GUNSHOT_OK;
}

gunshot_status gunshot_model_init(gunshot_artifact artifact, uint8_t *arena, size_t arena_bytes) {
  network = NULL;
  gunshot_model_reset();
  if (!artifact.bytes || artifact.size < offsetof(gunshot_network, n_frames)) return GUNSHOT_TRUNCATED;
  if (!intact(artifact)) return GUNSHOT_CRC;
  if ((uintptr_t)artifact.bytes % alignof(gunshot_network)) return GUNSHOT_TYPE;
  const gunshot_network *compiled = (const gunshot_network *)artifact.bytes;
  if (compiled->version != GUNSHOT_NETWORK_VERSION) return GUNSHOT_VERSION;
  if (artifact.size != compiled->size || compiled->size != sizeof *compiled) return GUNSHOT_TRUNCATED;
  const gunshot_status status = fits(compiled);
  if (status) return status;
  if (!arena || (uintptr_t)arena % 16 || arena_bytes < gunshot_model_arena_bytes) return GUNSHOT_ARENA;
  network = compiled;
  memory = (int8_t *)arena;
  return GUNSHOT_OK;
}

void gunshot_model_reset(void) { begun = false; }

void gunshot_model_vectors(size_t *positions, size_t *width) {
  *positions = GUNSHOT_NETWORK_POSITIONS;
  *width = VECTOR;
}

/* The frames of a window that the vectors from `position` on see. */
static const int8_t *seen(const int8_t *codes, int32_t position) {
  return codes + position * GUNSHOT_NETWORK_STRIDE * GUNSHOT_N_MELS;
}

static void look(const int8_t *codes, int32_t position) {
  gunshot_network_trunk(network, seen(codes, position), memory, vectors[position]);
}

/* All other vectors of a first window, backward. Frames before a beginning are alike, and so are their vectors. */
static void look_back(const int8_t *codes) {
  for (int32_t position, after = KEPT; after > 0; after = position) {
    position = after > NEW ? after - NEW : 0;
    if (memcmp(seen(codes, position), seen(codes, after), GUNSHOT_NETWORK_FRAMES * GUNSHOT_N_MELS) == 0) {
      memmove(vectors[position], vectors[after], NEW * VECTOR);
    } else {
      look(codes, position);
    }
  }
}

gunshot_status gunshot_model_score(const int8_t *codes, int16_t *logit) {
  int8_t outputs[GUNSHOT_NETWORK_OUTPUTS];
  if (!network) return GUNSHOT_NOT_READY;
  memmove(vectors, vectors + NEW, KEPT * VECTOR);
  look(codes, KEPT);
  if (!begun) look_back(codes);
  begun = true;
  gunshot_network_head(network, vectors[0], memory, outputs);
  const int16_t alone = (int16_t)(outputs[0] - network->output_zero_point);
  *logit = gunshot_site_logit(alone, vectors[0], GUNSHOT_NETWORK_POSITIONS, VECTOR);
  return GUNSHOT_OK;
}
