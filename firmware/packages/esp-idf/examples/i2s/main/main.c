/* Tells gunshots that an I2S microphone hears (INMP441, ICS-43434: 24 bits in slots of 32, its L/R pin at ground).
 * ESP-IDF 5.1 or later. Not built with ESP-IDF and not run on hardware by its makers. */
#include <inttypes.h>
#include <stdio.h>

#include "driver/gpio.h"
#include "driver/i2s_std.h"
#include "esp_err.h"
#include "freertos/FreeRTOS.h"

#include "gunshot_listener.h"

/* Pins: set them to those that your microphone is at. */
#define PIN_CLOCK GPIO_NUM_4 /* SCK, BCLK */
#define PIN_WORD GPIO_NUM_5  /* WS, LRCL */
#define PIN_DATA GPIO_NUM_6  /* SD, DOUT */

enum { BLOCK = 320 /* samples: 20 ms */ };

static int32_t slots[BLOCK];
static int16_t samples[BLOCK];

static void heard(const gunshot_heard *incident, void *context) {
  (void)context;
  for (size_t i = 0; i < incident->onset_count; i++) {
    printf("shot at %" PRIu64 " ms, incident %" PRIu32 ", score %.2f\n", incident->onsets[i] / 16, incident->incident,
           (double)incident->score);
  }
}

static i2s_chan_handle_t start(void) {
  i2s_chan_handle_t microphone;
  const i2s_chan_config_t channel = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_AUTO, I2S_ROLE_MASTER);
  i2s_std_config_t config = {
      .clk_cfg = I2S_STD_CLK_DEFAULT_CONFIG(GUNSHOT_LISTENER_RATE),
      .slot_cfg = I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO),
      .gpio_cfg = {.mclk = I2S_GPIO_UNUSED, .bclk = PIN_CLOCK, .ws = PIN_WORD, .dout = I2S_GPIO_UNUSED, .din = PIN_DATA},
  };
  config.slot_cfg.slot_mask = I2S_STD_SLOT_LEFT;
  ESP_ERROR_CHECK(i2s_new_channel(&channel, NULL, &microphone));
  ESP_ERROR_CHECK(i2s_channel_init_std_mode(microphone, &config));
  ESP_ERROR_CHECK(i2s_channel_enable(microphone));
  return microphone;
}

void app_main(void) {
  if (!gunshot_listener_begin(heard, NULL)) {
    printf("the model in flash is damaged\n");
    return;
  }
  const i2s_chan_handle_t microphone = start();
  size_t bytes;
  while (i2s_channel_read(microphone, slots, sizeof slots, &bytes, 1000) == ESP_OK) {
    const size_t n = bytes / sizeof *slots;
    for (size_t i = 0; i < n; i++) samples[i] = (int16_t)(slots[i] >> 16); /* the upper 16 bits: full scale stays */
    gunshot_listener_hear(samples, n);
  }
  printf("the microphone gave nothing for a second\n");
}
