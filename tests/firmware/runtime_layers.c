/* Layers of the port runtime beside those of src/kernels.c, as one library. */
#include "ports/runtime/layers.c"

void gunshot_conv(const gunshot_window *, const int8_t *, const int8_t *, const gunshot_rescale *, int8_t *, int8_t *);
void gunshot_depthwise(const gunshot_window *, const int8_t *, const int8_t *, const gunshot_rescale *, int8_t *,
                       int8_t *);

/* Kind 0: conv, 1: depthwise; by `plain` with those of src/. */
void layer_of(int32_t kind, int32_t plain, const gunshot_window *window, const int8_t *x, const int8_t *weights,
              const gunshot_rescale *rescale, int8_t *patch, int8_t *out) {
  if (kind == 0 && plain) __real_gunshot_conv(window, x, weights, rescale, patch, out);
  if (kind == 0 && !plain) gunshot_conv(window, x, weights, rescale, patch, out);
  if (kind == 1 && plain) __real_gunshot_depthwise(window, x, weights, rescale, patch, out);
  if (kind == 1 && !plain) gunshot_depthwise(window, x, weights, rescale, patch, out);
}

/* How many layers were laid out anew: or all would be computed by those of src/. */
int32_t layers_laid_out(void) {
  int32_t count = 0;
  while (count < LAYERS && layers[count].key) count++;
  return count;
}
