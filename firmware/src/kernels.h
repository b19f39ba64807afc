/* int8 layers with the arithmetic of TFLM's reference kernels, on maps [height][width][channels] of codes.
 *
 * The zero point of the input is taken out of the sums beforehand: it is part of the bias. */
#ifndef GUNSHOT_KERNELS_H
#define GUNSHOT_KERNELS_H

#include <stdint.h>

typedef struct {
  int16_t height, width, channels;
} gunshot_map;

typedef struct {
  int16_t height, width;
} gunshot_pair;

/* A window of `kernel` that moves by `stride` over the map `in`, `before` it at first, and gives the map `out`. */
typedef struct {
  gunshot_map in, out;
  gunshot_pair kernel, stride, before;
} gunshot_window;

/* Sums to codes, for each channel of the output, and then what a table makes of each code + 128; NULL: the code. */
typedef struct {
  const int32_t *bias, *multiplier;
  const int8_t *shift;
  int32_t zero_point, outside; /* of the output; the code that stands around the input */
  const int8_t *table;
} gunshot_rescale;

/* Weights [filters][height][width][channels]. `patch` is room for what lies under the kernel. */
void gunshot_conv(const gunshot_window *window, const int8_t *x, const int8_t *weights, const gunshot_rescale *rescale,
                  int8_t *patch, int8_t *out);
/* As conv, channel by channel: weights [height][width][filters]; NULL: all are 1. */
void gunshot_depthwise(const gunshot_window *window, const int8_t *x, const int8_t *weights,
                       const gunshot_rescale *rescale, int8_t *patch, int8_t *out);
/* Of what lies in the map. */
void gunshot_average_pool(const gunshot_window *window, const int8_t *x, const int8_t *table, int8_t *out);
void gunshot_max_pool(const gunshot_window *window, const int8_t *x, const int8_t *table, int8_t *out);

#endif
