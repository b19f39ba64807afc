/* ESP32-S3 with an I2S microphone: messages leave by UART1. Not built with ESP-IDF, not run on hardware. */
#include "port.h"

#include "driver/uart.h"
#include "esp_err.h"
#include "esp_mac.h"
#include "esp_random.h"
#include "esp_system.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#include "constants.h"
#include "microphone.h"

/* The pin of the line; those of the microphone stand in its header. */
#define PIN_TX GPIO_NUM_17
#define LINE UART_NUM_1

enum {
  BLOCK = GUNSHOT_HOP_LENGTH, /* samples that are read at once; 7 ms */
  BAUD = 921600,
  STACK = 4096,
  PRIORITY = 10, /* above the application's */
  CORE = 1,      /* the application is on 0 */
  WAITING = 5120 /* bytes that wait for the line: two messages with log-mel */
};

int gunshot_main(int argc, char **argv); /* main.c's main, which is renamed: ESP-IDF begins in app_main */
void app_main(void);

static gunshot_ring *ring;
static i2s_chan_handle_t microphone;
static TaskHandle_t application;
static uint32_t session;

/* The only writer of the ring. It keeps the upper 16 of 32 bits, so that full scale stays full scale. */
static void listen(void *context) {
  static int32_t slots[BLOCK];
  static int16_t samples[BLOCK];
  size_t bytes;
  (void)context;
  for (;;) {
    if (i2s_channel_read(microphone, slots, sizeof slots, &bytes, portMAX_DELAY) != ESP_OK) continue;
    const size_t n = bytes / sizeof *slots;
    for (size_t i = 0; i < n; i++) samples[i] = (int16_t)(slots[i] >> 16);
    gunshot_ring_write(ring, samples, n);
    xTaskNotifyGive(application);
  }
}

static esp_err_t start_line(void) {
  const uart_config_t config = {
      .baud_rate = BAUD, .data_bits = UART_DATA_8_BITS, .parity = UART_PARITY_DISABLE, .stop_bits = UART_STOP_BITS_1};
  esp_err_t failed = uart_driver_install(LINE, 256, WAITING, 0, NULL, 0);
  if (failed == ESP_OK) failed = uart_param_config(LINE, &config);
  if (failed == ESP_OK) {
    failed = uart_set_pin(LINE, PIN_TX, UART_PIN_NO_CHANGE, UART_PIN_NO_CHANGE, UART_PIN_NO_CHANGE);
  }
  return failed;
}

gunshot_status port_start(int argc, char **argv, gunshot_ring *to) {
  (void)argc, (void)argv;
  ring = to;
  session = esp_random();
  application = xTaskGetCurrentTaskHandle();
  if (start_line() != ESP_OK || microphone_start(&microphone, GUNSHOT_SR) != ESP_OK) return GUNSHOT_IO;
  const BaseType_t begun = xTaskCreatePinnedToCore(listen, "microphone", STACK, NULL, PRIORITY, NULL, CORE);
  return begun == pdPASS ? GUNSHOT_OK : GUNSHOT_IO;
}

bool port_wait(void) {
  (void)ulTaskNotifyTake(pdTRUE, portMAX_DELAY);
  return true;
}

uint32_t port_clock_ms(void) { return (uint32_t)(esp_timer_get_time() / 1000); }

/* The last four bytes of the factory's address. */
uint32_t port_device(void) {
  uint8_t mac[6] = {0};
  (void)esp_efuse_mac_get_default(mac);
  return (uint32_t)mac[2] << 24 | (uint32_t)mac[3] << 16 | (uint32_t)mac[4] << 8 | mac[5];
}

uint32_t port_session(void) { return session; }

/* It waits where the line's buffer is full: 25 ms for a message with log-mel, and the ring outlasts five. */
gunshot_status port_send(const uint8_t *message, size_t size) {
  return uart_write_bytes(LINE, message, size) == (int)size ? GUNSHOT_OK : GUNSHOT_IO;
}

int port_stop(gunshot_status status) {
  (void)status;
  esp_restart();
}

void app_main(void) { (void)gunshot_main(0, NULL); }
