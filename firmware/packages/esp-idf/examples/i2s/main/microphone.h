/* An I2S microphone (INMP441, ICS-43434: 24 bits in slots of 32, its L/R pin at ground). ESP-IDF 5.1 or later. */
#ifndef MICROPHONE_H
#define MICROPHONE_H

#include <stddef.h>
#include <stdint.h>

#include "driver/gpio.h"
#include "driver/i2s_std.h"
#include "esp_err.h"

/* Pins: set them to those that your microphone is at. */
#define PIN_CLOCK GPIO_NUM_4 /* SCK, BCLK */
#define PIN_WORD GPIO_NUM_5  /* WS, LRCL */
#define PIN_DATA GPIO_NUM_6  /* SD, DOUT */

static inline esp_err_t microphone_start(i2s_chan_handle_t *microphone, uint32_t rate) {
  const i2s_chan_config_t channel = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_AUTO, I2S_ROLE_MASTER);
  i2s_std_config_t config = {
      .clk_cfg = I2S_STD_CLK_DEFAULT_CONFIG(rate),
      .slot_cfg = I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO),
      .gpio_cfg = {.mclk = I2S_GPIO_UNUSED, .bclk = PIN_CLOCK, .ws = PIN_WORD,
                   .dout = I2S_GPIO_UNUSED, .din = PIN_DATA},
  };
  config.slot_cfg.slot_mask = I2S_STD_SLOT_LEFT;
  esp_err_t failed = i2s_new_channel(&channel, NULL, microphone);
  if (failed == ESP_OK) failed = i2s_channel_init_std_mode(*microphone, &config);
  if (failed == ESP_OK) failed = i2s_channel_enable(*microphone);
  return failed;
}

#endif
