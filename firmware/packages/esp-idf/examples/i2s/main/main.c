/* Tells gunshots that an I2S microphone hears (INMP441, ICS-43434: 24 bits in slots of 32, its L/R pin at ground).
 * ESP-IDF 5.1 or later. Not built with ESP-IDF and not run on hardware by its makers. */
#include <inttypes.h>
#include <stdio.h>

#include "freertos/FreeRTOS.h"

#include "gunshot_listener.h"
#include "microphone.h"

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

void app_main(void) {
  if (!gunshot_listener_begin(heard, NULL)) {
    printf("the model in flash is damaged\n");
    return;
  }
  i2s_chan_handle_t microphone;
  ESP_ERROR_CHECK(microphone_start(&microphone, GUNSHOT_LISTENER_RATE));
  size_t bytes;
  while (i2s_channel_read(microphone, slots, sizeof slots, &bytes, 1000) == ESP_OK) {
    const size_t n = bytes / sizeof *slots;
    for (size_t i = 0; i < n; i++) samples[i] = (int16_t)(slots[i] >> 16); /* the upper 16 bits: full scale stays */
    gunshot_listener_hear(samples, n);
  }
  printf("the microphone gave nothing for a second\n");
}
