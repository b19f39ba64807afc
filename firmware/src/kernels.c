#include "kernels.h"

#include <stddef.h>
#include <string.h>

#include "dot.h"

static int32_t clamp(int32_t x, int32_t low, int32_t high) { return x < low ? low : x > high ? high : x; }

static int8_t looked_up(int32_t code, const int8_t *table) { return table ? table[code + 128] : (int8_t)code; }

/* x multiplier / 2^31 2^shift, rounded twice: MultiplyByQuantizedMultiplier. */
static int32_t multiply(int32_t x, int32_t multiplier, int32_t shift) {
  const int32_t left = shift > 0 ? shift : 0, right = left - shift;
  const int32_t shifted = (int32_t)((uint32_t)x << left);
  const int32_t high = (int32_t)(((int64_t)shifted * multiplier + (1 << 30)) >> 31); /* halves up */
  const uint32_t mask = (1u << right) - 1;
  const uint32_t half = (mask >> 1) + (high < 0); /* away from zero */
  return (high >> right) + (((uint32_t)high & mask) > half);
}

static int8_t rescaled(int32_t sum, int32_t channel, const gunshot_rescale *to) {
  int32_t code = to->zero_point + multiply(sum, to->multiplier[channel], to->shift[channel]);
  return looked_up(clamp(code, -128, 127), to->table);
}

static const int8_t *at(const gunshot_map *map, const int8_t *x, int32_t h, int32_t w) {
  return x + (h * map->width + w) * map->channels;
}

void gunshot_pad(const gunshot_window *window, const int8_t *x, int8_t code, int8_t *out) {
  const gunshot_map *in = &window->in, *map = &window->out;
  const int32_t row = in->width * in->channels;
  memset(out, code, (size_t)(map->height * map->width * map->channels));
  for (int32_t h = 0; h < in->height; h++) {
    memcpy(out + (at(map, out, h + window->before.height, window->before.width) - out), x + h * row, (size_t)row);
  }
}

/* One position: all filters on the patch that begins at x. */
static void conv_at(const gunshot_window *window, const int8_t *x, const int8_t *weights,
                    const gunshot_rescale *rescale, int8_t *out) {
  const int32_t row = window->kernel.width * window->in.channels, size = window->kernel.height * row;
  const int32_t step = window->in.width * window->in.channels, filters = window->out.channels;
  int32_t f = 0;
  for (; f + 4 <= filters; f += 4, weights += 4 * size) {
    int32_t sums[4] = {rescale->bias[f], rescale->bias[f + 1], rescale->bias[f + 2], rescale->bias[f + 3]};
    for (int32_t i = 0; i < window->kernel.height; i++) dot4(x + i * step, weights + i * row, size, row, sums);
    for (int32_t k = 0; k < 4; k++) out[f + k] = rescaled(sums[k], f + k, rescale);
  }
  for (; f < filters; f++, weights += size) {
    int32_t sum = rescale->bias[f];
    for (int32_t i = 0; i < window->kernel.height; i++) sum = dot(x + i * step, weights + i * row, row, sum);
    out[f] = rescaled(sum, f, rescale);
  }
}

void gunshot_conv(const gunshot_window *window, const int8_t *x, const int8_t *weights, const gunshot_rescale *rescale,
                  int8_t *out) {
  for (int32_t h = 0; h < window->out.height; h++) {
    for (int32_t w = 0; w < window->out.width; w++, out += window->out.channels) {
      conv_at(window, at(&window->in, x, h * window->stride.height, w * window->stride.width), weights, rescale, out);
    }
  }
}

/* One channel of the output at one position: x and weights at their first, the next ones `filters` weights on. */
static int32_t depthwise_sum(const gunshot_window *window, const int8_t *x, const int8_t *weights) {
  const int32_t filters = window->out.channels;
  int32_t sum = 0;
  for (int32_t i = 0; i < window->kernel.height; i++) {
    const int8_t *from = at(&window->in, x, i, 0);
    for (int32_t j = 0; j < window->kernel.width; j++, from += window->in.channels) {
      sum += weights ? *from * weights[(i * window->kernel.width + j) * filters] : *from;
    }
  }
  return sum;
}

void gunshot_depthwise(const gunshot_window *window, const int8_t *x, const int8_t *weights,
                       const gunshot_rescale *rescale, int8_t *out) {
  const int32_t each = window->out.channels / window->in.channels;
  for (int32_t h = 0; h < window->out.height; h++) {
    for (int32_t w = 0; w < window->out.width; w++) {
      const int8_t *from = at(&window->in, x, h * window->stride.height, w * window->stride.width);
      for (int32_t f = 0; f < window->out.channels; f++) {
        int32_t sum = depthwise_sum(window, from + f / each, weights ? weights + f : NULL);
        *out++ = rescaled(sum + rescale->bias[f], f, rescale);
      }
    }
  }
}

typedef struct {
  int32_t top, bottom, left, right;
} gunshot_part;

/* What of a window lies in the map. */
static gunshot_part inside(const gunshot_window *window, int32_t h, int32_t w) {
  const int32_t top = h * window->stride.height - window->before.height;
  const int32_t left = w * window->stride.width - window->before.width;
  return (gunshot_part){clamp(top, 0, window->in.height), clamp(top + window->kernel.height, 0, window->in.height),
                        clamp(left, 0, window->in.width), clamp(left + window->kernel.width, 0, window->in.width)};
}

static int32_t average(const gunshot_map *map, const int8_t *x, gunshot_part part) {
  const int32_t count = (part.bottom - part.top) * (part.right - part.left);
  int32_t sum = 0;
  for (int32_t i = part.top; i < part.bottom; i++) {
    for (int32_t j = part.left; j < part.right; j++) sum += *at(map, x, i, j);
  }
  return (sum > 0 ? sum + count / 2 : sum - count / 2) / count; /* halves away from zero */
}

static int32_t largest(const gunshot_map *map, const int8_t *x, gunshot_part part) {
  int32_t top = -128;
  for (int32_t i = part.top; i < part.bottom; i++) {
    for (int32_t j = part.left; j < part.right; j++) top = *at(map, x, i, j) > top ? *at(map, x, i, j) : top;
  }
  return top;
}

static inline void pool(const gunshot_window *window, const int8_t *x, const int8_t *table, int8_t *out,
                        int32_t (*of)(const gunshot_map *, const int8_t *, gunshot_part)) {
  for (int32_t h = 0; h < window->out.height; h++) {
    for (int32_t w = 0; w < window->out.width; w++) {
      const gunshot_part part = inside(window, h, w);
      for (int32_t c = 0; c < window->out.channels; c++) *out++ = looked_up(of(&window->in, x + c, part), table);
    }
  }
}

void gunshot_average_pool(const gunshot_window *window, const int8_t *x, const int8_t *table, int8_t *out) {
  pool(window, x, table, out, average);
}

void gunshot_max_pool(const gunshot_window *window, const int8_t *x, const int8_t *table, int8_t *out) {
  pool(window, x, table, out, largest);
}
