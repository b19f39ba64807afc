#include "site.h"

#include <string.h>

#include "crc32.h"
#include "model.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a site's bytes are read as little-endian");

enum { VERSION = 1, POOLS = 3, ASKED = 0, OWN = -1, MOST_BIAS = (1 << 30) - 1 };

typedef struct {
  uint32_t crc32; /* of all that follows */
  uint8_t version, positions, width, pools;
  uint64_t model; /* whose vectors it reads */
  int32_t on, off, even, bias;
  int8_t weights[GUNSHOT_SITE_MOST_BYTES - 32]; /* of the highest, the lowest, the sum: width each */
} site;

_Static_assert(sizeof(site) == GUNSHOT_SITE_MOST_BYTES, "a site's members lie as they are sent");

static site here;
static bool used;

/* Whether the model's backend has vectors of the shape that it reads. */
static bool fits(void) {
  size_t positions, width;
  gunshot_model_vectors(&positions, &width);
  return here.positions == positions && here.width == width;
}

/* Whether an incident opens no lower than it goes on, and the bias is one that is packed. */
static bool sane(void) {
  return here.even <= here.off && here.off <= here.on && -MOST_BIAS <= here.bias && here.bias <= MOST_BIAS;
}

gunshot_status gunshot_site_use(const uint8_t *bytes, size_t size, uint64_t model) {
  used = false;
  if (!bytes || size < offsetof(site, weights) || size > sizeof here) return GUNSHOT_TRUNCATED;
  memcpy(&here, bytes, size);
  if (here.crc32 != gunshot_crc32(bytes + sizeof here.crc32, size - sizeof here.crc32)) return GUNSHOT_CRC;
  if (here.version != VERSION || here.pools != POOLS) return GUNSHOT_VERSION;
  if (size != offsetof(site, weights) + (size_t)POOLS * here.width) return GUNSHOT_TRUNCATED;
  if (here.model != model || !fits() || !sane()) return GUNSHOT_TYPE;
  used = true;
  return GUNSHOT_OK;
}

bool gunshot_site_thresholds(int32_t *on, int32_t *off, int32_t *even) {
  if (!used) return false;
  *on = here.on;
  *off = here.off;
  *even = here.even;
  return true;
}

int16_t gunshot_site_logit(int16_t logit, const int8_t *vectors, size_t positions, size_t width) {
  if (!used || logit < ASKED || here.positions != positions || here.width != width) return logit;
  int64_t margin = here.bias;
  for (size_t i = 0; i < width; i++) {
    int32_t highest = INT8_MIN, lowest = INT8_MAX, sum = 0;
    for (size_t position = 0; position < positions; position++) {
      const int32_t code = vectors[position * width + i];
      highest = code > highest ? code : highest;
      lowest = code < lowest ? code : lowest;
      sum += code;
    }
    const int32_t many = (int32_t)positions;
    margin += many * highest * here.weights[i] + many * lowest * here.weights[width + i] +
              sum * here.weights[2 * width + i];
  }
  return margin < 0 ? OWN : logit;
}
