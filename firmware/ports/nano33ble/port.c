/* Arduino Nano 33 BLE Sense: messages leave by UARTE0 on pin TX. Not run on hardware. */
#include "port.h"

#include "microphone.h"
#include "nrf52840.h"
#include "startup.h"

enum { TX = 3 /* of port 1 */ };

int main(int argc, char **argv);

static void start_clocks(void) {
  CLOCK_TASKS_HFCLKSTART = 1; /* the crystal: the RC oscillator's 1.5 % would be in the sample rate */
  while (!CLOCK_EVENTS_HFCLKSTARTED);
  CLOCK_LFCLKSRC = CLOCK_LFCLKSRC_XTAL;
  CLOCK_TASKS_LFCLKSTART = 1;
  while (!CLOCK_EVENTS_LFCLKSTARTED);
  RTC0_TASKS_START = 1;
}

static uint32_t session;

/* Four bytes of the random number generator, its bias corrected. */
static void draw_session(void) {
  RNG_CONFIG = RNG_DERCEN;
  RNG_TASKS_START = 1;
  for (int i = 0; i < 4; i++) {
    while (!RNG_EVENTS_VALRDY);
    RNG_EVENTS_VALRDY = 0;
    session = session << 8 | RNG_VALUE;
  }
  RNG_TASKS_STOP = 1;
}

static void start_uart(void) {
  P1_OUTSET = 1u << TX;
  P1_DIRSET = 1u << TX;
  UARTE0_PSEL_TXD = PSEL(1, TX);
  UARTE0_PSEL_RXD = UARTE0_PSEL_RTS = UARTE0_PSEL_CTS = PSEL_DISCONNECTED;
  UARTE0_BAUDRATE = UARTE_BAUD_1M;
  UARTE0_ENABLE = UARTE_ENABLE;
}

gunshot_status port_start(int argc, char **argv, gunshot_ring *ring) {
  (void)argc, (void)argv;
  start_clocks();
  draw_session();
  start_uart();
  microphone_start(ring);
  return GUNSHOT_OK;
}

/* A sample that comes between the reader's last look and this leaves the next interrupt to end the wait, 7 ms later. */
bool port_wait(void) {
  __asm volatile("wfi" ::: "memory");
  return true;
}

/* Called each block, far more often than the counter's 512 s. */
uint32_t port_clock_ms(void) {
  static uint32_t last;
  static uint64_t ticks;
  const uint32_t now = RTC0_COUNTER;
  ticks += (now - last) & 0xFFFFFF;
  last = now;
  return (uint32_t)(ticks * 1000 / 32768);
}

uint32_t port_device(void) { return FICR_DEVICEID0; }

uint32_t port_session(void) { return session; }

gunshot_status port_send(const uint8_t *message, size_t size) {
  UARTE0_EVENTS_ENDTX = 0;
  UARTE0_TXD_PTR = (uint32_t)(uintptr_t)message; /* in RAM, as DMA needs it */
  UARTE0_TXD_MAXCNT = (uint32_t)size;
  UARTE0_TASKS_STARTTX = 1;
  while (!UARTE0_EVENTS_ENDTX);
  return GUNSHOT_OK;
}

_Noreturn static void restart(void) {
  __asm volatile("dsb");
  SCB_AIRCR = AIRCR_SYSRESETREQ;
  for (;;);
}

int port_stop(gunshot_status status) {
  (void)status;
  restart();
}

_Noreturn void port_run(void) {
  (void)main(0, NULL);
  restart();
}

_Noreturn void port_fault(void) { restart(); }
