#include "kernels.h"

#include <stdbool.h>
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

/* What lies under the kernel, in one piece: where it lies so in the map, there; else copied. */
static const int8_t *under(const gunshot_window *window, const int8_t *x, int32_t outside, int32_t h, int32_t w,
                           int8_t *patch) {
  const gunshot_part part = inside(window, h, w);
  const gunshot_pair kernel = window->kernel;
  const int32_t size = kernel.width * window->in.channels, rows = part.bottom - part.top;
  const bool whole = rows == kernel.height && part.right - part.left == kernel.width;
  if (whole && (kernel.height == 1 || kernel.width == window->in.width)) return at(&window->in, x, part.top, part.left);
  int8_t *to = patch;
  if (!whole) {
    memset(patch, outside, (size_t)(kernel.height * size));
    to += (part.top + window->before.height - h * window->stride.height) * size;
    to += (part.left + window->before.width - w * window->stride.width) * window->in.channels;
  }
  for (int32_t i = part.top; i < part.bottom; i++, to += size) {
    memcpy(to, at(&window->in, x, i, part.left), (size_t)((part.right - part.left) * window->in.channels));
  }
  return patch;
}

/* One position: all filters on n inputs. */
static void conv_at(const int8_t *x, int32_t n, const int8_t *weights, int32_t filters, const gunshot_rescale *rescale,
                    int8_t *out) {
  int32_t f = 0;
  for (; f + 4 <= filters; f += 4, weights += 4 * n) {
    int32_t sums[4];
    memcpy(sums, rescale->bias + f, sizeof sums);
    dot4(x, weights, n, sums);
    for (int32_t k = 0; k < 4; k++) out[f + k] = rescaled(sums[k], f + k, rescale);
  }
  for (; f < filters; f++, weights += n) out[f] = rescaled(dot(x, weights, n, rescale->bias[f]), f, rescale);
}

void gunshot_conv(const gunshot_window *window, const int8_t *x, const int8_t *weights, const gunshot_rescale *rescale,
                  int8_t *patch, int8_t *out) {
  const int32_t n = window->kernel.height * window->kernel.width * window->in.channels;
  for (int32_t h = 0; h < window->out.height; h++) {
    for (int32_t w = 0; w < window->out.width; w++, out += window->out.channels) {
      conv_at(under(window, x, rescale->outside, h, w, patch), n, weights, window->out.channels, rescale, out);
    }
  }
}

/* One position: each filter on the channel that is its own. */
static void depthwise_at(const int8_t *x, int32_t n, const int8_t *weights, const gunshot_window *window,
                         const gunshot_rescale *rescale, int8_t *out) {
  const int32_t filters = window->out.channels, channels = window->in.channels, each = filters / channels;
  for (int32_t f = 0; f < filters; f++) {
    int32_t sum = rescale->bias[f];
    for (int32_t k = 0; k < n; k++) {
      sum += weights ? x[k * channels + f / each] * weights[k * filters + f] : x[k * channels + f / each];
    }
    out[f] = rescaled(sum, f, rescale);
  }
}

void gunshot_depthwise(const gunshot_window *window, const int8_t *x, const int8_t *weights,
                       const gunshot_rescale *rescale, int8_t *patch, int8_t *out) {
  const int32_t n = window->kernel.height * window->kernel.width;
  for (int32_t h = 0; h < window->out.height; h++) {
    for (int32_t w = 0; w < window->out.width; w++, out += window->out.channels) {
      depthwise_at(under(window, x, rescale->outside, h, w, patch), n, weights, window, rescale, out);
    }
  }
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
                        int32_t (*combined)(const gunshot_map *, const int8_t *, gunshot_part)) {
  for (int32_t h = 0; h < window->out.height; h++) {
    for (int32_t w = 0; w < window->out.width; w++) {
      const gunshot_part part = inside(window, h, w);
      for (int32_t c = 0; c < window->out.channels; c++) *out++ = looked_up(combined(&window->in, x + c, part), table);
    }
  }
}

void gunshot_average_pool(const gunshot_window *window, const int8_t *x, const int8_t *table, int8_t *out) {
  pool(window, x, table, out, average);
}

void gunshot_max_pool(const gunshot_window *window, const int8_t *x, const int8_t *table, int8_t *out) {
  pool(window, x, table, out, largest);
}
