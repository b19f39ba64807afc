/* What the sample uses of Zephyr 3.7, on a machine whose microphone is standard input, raw int16. */
#ifndef ZEPHYR_KERNEL_H
#define ZEPHYR_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device {
  const char *name;
};
struct k_mem_slab {
  char *buffer;
  size_t block_size;
  uint32_t blocks, used;
};

extern const struct device board_dmic_dev;
#define DT_NODELABEL(label) board_##label
#define DEVICE_DT_GET(node) (&node)
#define ARG_UNUSED(x) (void)(x)
#define K_MEM_SLAB_DEFINE_STATIC(name, size, count, align)                    \
  static char __attribute__((aligned(align))) name##_buffer[(size) * (count)]; \
  static struct k_mem_slab name = {name##_buffer, size, count, 0}

bool device_is_ready(const struct device *dev);
void k_mem_slab_free(struct k_mem_slab *slab, void *mem);

#endif
