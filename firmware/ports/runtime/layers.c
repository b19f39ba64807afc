/* gunshot_conv and gunshot_depthwise of src/kernels.h for machines with vectors: eight filters at once, by weights that
 * are laid out anew where a layer is met first. The linker puts them in the place of those of src/kernels.c (--wrap),
 * which still compute what does not fit. One caller at a time, as all of the library. */
#include <stdalign.h>
#include <stdbool.h>

#include "kernels.h"
#include "network.h"
#include "pairs.h"

enum {
  LAYERS = 32,
  BLOCKS = 32,      /* of eight filters, at most */
  INPUTS = 1 << 16, /* of a map, at most */
  POOL = 8 * sizeof(gunshot_network)
};

/* A layer's constants, filled up to whole blocks of eight filters. */
typedef struct {
  const int32_t *key; /* its bias in the network */
  int32_t blocks;
  const eight *bias, *multiplier, *left, *right, *mask;
  const int16_t *weights; /* conv: [kernel's height][pairs of a row][filters][2]; depthwise: [kernel][filters] */
} layer;

static layer layers[LAYERS];
static alignas(32) uint8_t pool[POOL];
static size_t taken;
static alignas(32) int16_t widened[INPUTS + EIGHT]; /* a map as 16-bit numbers; what reads its end may reach beyond */

void __real_gunshot_conv(const gunshot_window *window, const int8_t *x, const int8_t *weights,
                         const gunshot_rescale *rescale, int8_t *patch, int8_t *out);
void __real_gunshot_depthwise(const gunshot_window *window, const int8_t *x, const int8_t *weights,
                              const gunshot_rescale *rescale, int8_t *patch, int8_t *out);

static inline int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

/* Room in the pool, of zeros; NULL where there is none. */
static void *room(size_t size) {
  void *begin = pool + taken;
  size = (size + 31) / 32 * 32;
  if (size > POOL - taken) return NULL;
  taken += size;
  return begin;
}

/* Weights [filters][rows][row] in pairs: where a row is odd, its last pair has a weight of 0. */
static void in_pairs(int16_t *pairs, int32_t each, const int8_t *weights, const gunshot_window *window) {
  const int32_t rows = window->kernel.height, row = window->kernel.width * window->in.channels;
  for (int32_t f = 0; f < window->out.channels; f++) {
    for (int32_t i = 0; i < rows; i++) {
      for (int32_t k = 0; k < row; k++) {
        pairs[((i * ((row + 1) / 2) + k / 2) * each + f) * 2 + k % 2] = weights[(f * rows + i) * row + k];
      }
    }
  }
}

/* The layer of `rescale`, laid out. NULL: it does not fit. */
static const layer *laid_out(const gunshot_window *window, const gunshot_rescale *rescale, const int8_t *weights,
                             bool depthwise) {
  layer *to = layers;
  for (; to < layers + LAYERS && to->key; to++) {
    if (to->key == rescale->bias) return to;
  }
  const int32_t filters = window->out.channels, blocks = (filters + EIGHT - 1) / EIGHT, each = blocks * EIGHT;
  const int32_t kernel = window->kernel.height * window->kernel.width;
  const int32_t inputs = window->kernel.height * ((window->kernel.width * window->in.channels + 1) / 2 * 2);
  if (to == layers + LAYERS || blocks > BLOCKS) return NULL;
  int32_t *numbers = room(5 * (size_t)blocks * sizeof(eight));
  int16_t *laid_weights = room((size_t)((depthwise ? kernel : inputs) * each) * sizeof(int16_t));
  if (!numbers || !laid_weights) return NULL;
  for (int32_t f = 0; f < filters; f++) {
    const int32_t shift = rescale->shift[f], right = shift > 0 ? 0 : -shift;
    const int32_t constants[] = {rescale->bias[f], rescale->multiplier[f], shift > 0 ? shift : 0, right,
                                 (int32_t)((1u << right) - 1)};
    for (int32_t i = 0; i < 5; i++) numbers[i * each + f] = constants[i];
    for (int32_t k = 0; depthwise && k < kernel; k++) laid_weights[k * each + f] = weights[k * filters + f];
  }
  if (!depthwise) in_pairs(laid_weights, each, weights, window);
  const eight *laid = (const eight *)numbers;
  *to = (layer){rescale->bias,     blocks,        laid, laid + blocks, laid + 2 * blocks, laid + 3 * blocks,
                laid + 4 * blocks, laid_weights};
  return to;
}

/* The map that a window moves over to `widened`, `outside` where it lies beyond the map. Returns the length of a row in
 * it, or 0 where it does not fit. */
static int32_t widen(const gunshot_window *window, const int8_t *x, int32_t outside) {
  const int32_t height = (window->out.height - 1) * window->stride.height + window->kernel.height;
  const int32_t width = (window->out.width - 1) * window->stride.width + window->kernel.width;
  const int32_t channels = window->in.channels, row = width * channels;
  const int32_t skipped = window->before.width * channels, whole = window->in.width * channels;
  if (height * row > INPUTS) return 0;
  for (int32_t i = 0; i < height; i++) {
    const int32_t from = i - window->before.height;
    const bool inside = from >= 0 && from < window->in.height;
    const int32_t stop = inside ? smaller(row, skipped + whole) : 0, start = smaller(skipped, stop);
    int16_t *to = widened + i * row;
    for (int32_t k = 0; k < start; k++) to[k] = (int16_t)outside;
    for (int32_t k = start; k < stop; k++) to[k] = x[from * whole + k - skipped];
    for (int32_t k = stop; k < row; k++) to[k] = (int16_t)outside;
  }
  return row;
}

/* The codes of eight sums, `count` of them: `rescaled` of src/kernels.c, but for the table. */
static inline void rescaled(eight sums, const layer *laid, int32_t block, int32_t zero_point, int32_t count,
                            int8_t *out) {
  const eight high = doubled_high(sums << laid->left[block], laid->multiplier[block]), mask = laid->mask[block];
  const eight up = (high & mask) > (mask >> 1) - (high < 0);
  const eight codes = (high >> laid->right[block]) - up + zero_point;
  if (count == EIGHT) {
    saturated(codes, out);
  } else {
    int8_t all[EIGHT];
    saturated(codes, all);
    for (int32_t i = 0; i < count; i++) out[i] = all[i];
  }
}

/* Two positions of a window over `widened`, whose rows have `length`, and where their codes go. */
typedef struct {
  const int16_t *at[2];
  int8_t *out[2];
} positions;

/* Blocks `from` to `from` + count of two positions. Inlined, `count` is a constant: the sums are in registers. */
static inline void blocks_at(const positions *two, int32_t length, const gunshot_window *window, const layer *laid,
                             int32_t from, int32_t count, int32_t zero_point) {
  eight a[4], b[4];
  for (int32_t j = 0; j < count; j++) a[j] = b[j] = laid->bias[from + j];
  const int32_t row = window->kernel.width * window->in.channels, apart = laid->blocks * 2 * EIGHT;
  const int16_t *w = laid->weights + from * 2 * EIGHT, *x = two->at[0], *y = two->at[1];
  for (int32_t i = 0; i < window->kernel.height; i++, x += length, y += length) {
    for (int32_t k = 0; k < row; k += 2, w += apart) {
      for (int32_t j = 0; j < count; j++) {
        a[j] = add_pair(a[j], x + k, w + j * 2 * EIGHT);
        b[j] = add_pair(b[j], y + k, w + j * 2 * EIGHT);
      }
    }
  }
  for (int32_t j = 0; j < count; j++) {
    const int32_t f = (from + j) * EIGHT, left = smaller(EIGHT, window->out.channels - f);
    rescaled(a[j], laid, from + j, zero_point, left, two->out[0] + f);
    rescaled(b[j], laid, from + j, zero_point, left, two->out[1] + f);
  }
}

static void look_up(const int8_t *restrict table, int8_t *restrict codes, int32_t n) {
  if (!table) return;
#pragma GCC unroll 8
  for (int32_t i = 0; i < n; i++) codes[i] = table[codes[i] + 128];
}

static inline const int16_t *under(const gunshot_window *window, int32_t length, int32_t h, int32_t w) {
  return widened + h * window->stride.height * length + w * window->stride.width * window->in.channels;
}

void __wrap_gunshot_conv(const gunshot_window *window, const int8_t *x, const int8_t *weights,
                         const gunshot_rescale *rescale, int8_t *patch, int8_t *out) {
  const int32_t filters = window->out.channels, height = window->out.height, width = window->out.width;
  const int32_t length = widen(window, x, rescale->outside), zero_point = rescale->zero_point;
  const layer *laid = length ? laid_out(window, rescale, weights, false) : NULL;
  if (!laid) {
    __real_gunshot_conv(window, x, weights, rescale, patch, out);
    return;
  }
  for (int32_t h = 0; h < height; h++) {
    for (int32_t w = 0; w < width; w += 2) { /* the last of an odd row is its own neighbour */
      const int32_t other = smaller(w + 1, width - 1);
      const positions two = {{under(window, length, h, w), under(window, length, h, other)},
                             {out + (h * width + w) * filters, out + (h * width + other) * filters}};
      for (int32_t from = 0; from < laid->blocks; from += 4) {
        switch (laid->blocks - from) {
          case 1: blocks_at(&two, length, window, laid, from, 1, zero_point); break;
          case 2: blocks_at(&two, length, window, laid, from, 2, zero_point); break;
          case 3: blocks_at(&two, length, window, laid, from, 3, zero_point); break;
          default: blocks_at(&two, length, window, laid, from, 4, zero_point);
        }
      }
    }
  }
  look_up(rescale->table, out, height * width * filters);
}

/* A position of depthwise: each filter on the channel that is its own. What fills up a block reads what lies behind. */
static void depthwise_at(const int16_t *x, int32_t length, const gunshot_window *window, const layer *laid,
                         int32_t zero_point, int8_t *out) {
  const int32_t filters = window->out.channels, each = laid->blocks * EIGHT;
  for (int32_t b = 0; b < laid->blocks; b++) {
    eight sums = laid->bias[b];
    const int16_t *w = laid->weights + b * EIGHT;
    for (int32_t i = 0; i < window->kernel.height; i++) {
      for (int32_t j = 0; j < window->kernel.width; j++, w += each) {
        sums += widen_eight(x + i * length + j * filters + b * EIGHT) * widen_eight(w);
      }
    }
    rescaled(sums, laid, b, zero_point, smaller(EIGHT, filters - b * EIGHT), out + b * EIGHT);
  }
}

void __wrap_gunshot_depthwise(const gunshot_window *window, const int8_t *x, const int8_t *weights,
                              const gunshot_rescale *rescale, int8_t *patch, int8_t *out) {
  const int32_t filters = window->out.channels, width = window->out.width;
  const bool fits = weights && filters == window->in.channels;
  const int32_t length = fits ? widen(window, x, rescale->outside) : 0;
  const layer *laid = length ? laid_out(window, rescale, weights, true) : NULL;
  if (!laid) {
    __real_gunshot_depthwise(window, x, weights, rescale, patch, out);
    return;
  }
  for (int32_t h = 0; h < window->out.height; h++) {
    for (int32_t w = 0; w < width; w++) {
      const int16_t *at = under(window, length, h, w);
      depthwise_at(at, length, window, laid, rescale->zero_point, out + (h * width + w) * filters);
    }
  }
  look_up(rescale->table, out, window->out.height * width * filters);
}
