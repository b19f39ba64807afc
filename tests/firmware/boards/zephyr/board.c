/* A microphone that gives standard input block by block, and an error at its end; a block must be given back before so
 * many were taken as there are. */
#include <zephyr/audio/dmic.h>

#include <stdio.h>

const struct device board_dmic_dev = {"dmic"};
static struct pcm_stream_cfg stream;
static bool started;

bool device_is_ready(const struct device *dev) { return dev == &board_dmic_dev; }

uint32_t dmic_build_channel_map(uint8_t channel, uint8_t pdm, enum pdm_lr lr) {
  return (uint32_t)((pdm & 7) << 1 | (int)lr) << ((channel & 7) * 4);
}

int dmic_configure(const struct device *dev, struct dmic_cfg *cfg) {
  stream = *cfg->streams;
  const bool mono = cfg->channel.req_num_chan == 1 && cfg->channel.req_num_streams == 1;
  const bool fits = stream.block_size <= stream.mem_slab->block_size && stream.pcm_width == 16;
  return device_is_ready(dev) && mono && fits && stream.pcm_rate == 16000 ? 0 : -1;
}

int dmic_trigger(const struct device *dev, enum dmic_trigger cmd) {
  started = device_is_ready(dev) && cmd == DMIC_TRIGGER_START;
  return 0;
}

int dmic_read(const struct device *dev, uint8_t number, void **buffer, size_t *size, int32_t timeout) {
  struct k_mem_slab *slab = stream.mem_slab;
  (void)dev, (void)timeout;
  if (!started || number != 0 || slab->used == slab->blocks) return -2;
  *buffer = slab->buffer + slab->used++ * slab->block_size;
  *size = fread(*buffer, 1, stream.block_size, stdin);
  return *size > 0 ? 0 : -11;
}

void k_mem_slab_free(struct k_mem_slab *slab, void *mem) {
  (void)mem;
  slab->used--;
}
