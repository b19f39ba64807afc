/* Tells gunshots that a digital microphone hears: the devicetree's node with the label dmic_dev. Zephyr 3.7 or later.
 * Not run on hardware by its makers. */
#include <zephyr/audio/dmic.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>

#include <gunshot_listener.h>

enum {
  BLOCK = 2 * GUNSHOT_LISTENER_RATE / 50, /* bytes of 20 ms */
  BLOCKS = 8,
  TIMEOUT_MS = 1000
};

K_MEM_SLAB_DEFINE_STATIC(slab, BLOCK, BLOCKS, 4);

static void heard(const gunshot_heard *incident, void *context) {
  ARG_UNUSED(context);
  for (size_t i = 0; i < incident->onset_count; i++) {
    printk("shot at %u ms, incident %u, score %d %%\n", (unsigned int)(incident->onsets[i] / 16),
           (unsigned int)incident->incident, (int)(100 * incident->score));
  }
}

static int start(const struct device *microphone) {
  struct pcm_stream_cfg stream = {
      .pcm_rate = GUNSHOT_LISTENER_RATE, .pcm_width = 16, .block_size = BLOCK, .mem_slab = &slab};
  struct dmic_cfg config = {
      .io = {.min_pdm_clk_freq = 1000000, .max_pdm_clk_freq = 3250000, .min_pdm_clk_dc = 40, .max_pdm_clk_dc = 60},
      .streams = &stream,
      .channel = {.req_chan_map_lo = dmic_build_channel_map(0, 0, PDM_CHAN_LEFT), .req_num_chan = 1,
                  .req_num_streams = 1}};
  const int failed = dmic_configure(microphone, &config);
  return failed < 0 ? failed : dmic_trigger(microphone, DMIC_TRIGGER_START);
}

int main(void) {
  const struct device *const microphone = DEVICE_DT_GET(DT_NODELABEL(dmic_dev));
  if (!device_is_ready(microphone) || start(microphone) < 0) {
    printk("the microphone does not start\n");
    return 0;
  }
  if (!gunshot_listener_begin(heard, NULL)) {
    printk("the model in flash is damaged\n");
    return 0;
  }
  for (;;) {
    void *block;
    size_t bytes;
    const int failed = dmic_read(microphone, 0, &block, &bytes, TIMEOUT_MS);
    if (failed < 0) {
      printk("the microphone gave nothing: %d\n", failed);
      return 0;
    }
    gunshot_listener_hear(block, bytes / sizeof(int16_t));
    k_mem_slab_free(&slab, block);
  }
}
