/* RP2040 and RP2350 with an I2S microphone: messages go by UART0. Not built with the Pico SDK, not run on hardware. */
#include "port.h"

#include <string.h>

#include "hardware/sync.h"
#include "hardware/uart.h"
#include "hardware/watchdog.h"
#include "microphone.h"
#include "pico/rand.h"
#include "pico/stdlib.h"
#include "pico/unique_id.h"

#define LINE uart0
#define PIN_TX 0u

enum { BAUD = 921600 };

static uint32_t session;

gunshot_status port_start(int argc, char **argv, gunshot_ring *ring) {
  (void)argc, (void)argv;
  session = get_rand_32();
  uart_init(LINE, BAUD);
  gpio_set_function(PIN_TX, GPIO_FUNC_UART);
  return microphone_start(ring) ? GUNSHOT_OK : GUNSHOT_IO;
}

bool port_wait(void) {
  __wfi();
  return true;
}

uint32_t port_clock_ms(void) { return to_ms_since_boot(get_absolute_time()); }

/* The last four bytes of the flash chip's number. */
uint32_t port_device(void) {
  pico_unique_board_id_t board;
  uint32_t device;
  pico_get_unique_board_id(&board);
  memcpy(&device, board.id + sizeof board.id - sizeof device, sizeof device);
  return device;
}

uint32_t port_session(void) { return session; }

/* 25 ms for a message with log-mel, in which nothing is read; the ring outlasts five. */
gunshot_status port_send(const uint8_t *message, size_t size) {
  uart_write_blocking(LINE, message, size);
  return GUNSHOT_OK;
}

int port_stop(gunshot_status status) {
  (void)status;
  watchdog_reboot(0, 0, 0);
  for (;;) __wfi();
}
