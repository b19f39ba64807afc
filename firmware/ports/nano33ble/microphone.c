#include "microphone.h"

#include "constants.h"
#include "nrf52840.h"
#include "startup.h"

enum {
  POWER = 17, /* pins of port 0, not checked against the board's schematic */
  DATA = 25,
  CLOCK = 26,
  BLOCK = GUNSHOT_HOP_LENGTH /* samples between interrupts; 7 ms */
};

/* 1.28 MHz / 80 is 16 kHz; the peripheral's default, 1.032 MHz / 64, would be 16.125 kHz. */
_Static_assert(GUNSHOT_SR == 16000, "the PDM clock and ratio give 16 kHz");

static int16_t blocks[2][BLOCK]; /* one is filled while the other is read */
static unsigned filled;          /* the block that the next END is of */
static gunshot_ring *ring;

static void interrupt(void) {
  if (PDM_EVENTS_END) {
    PDM_EVENTS_END = 0;
    (void)PDM_EVENTS_END; /* the write must arrive before the handler ends */
    gunshot_ring_write(ring, blocks[filled], BLOCK);
    filled ^= 1;
  }
  if (PDM_EVENTS_STARTED) { /* a block has begun: say where the one after it goes */
    PDM_EVENTS_STARTED = 0;
    (void)PDM_EVENTS_STARTED;
    PDM_SAMPLE_PTR = (uint32_t)(uintptr_t)blocks[filled ^ 1];
  }
}

typedef void (*handler)(void);
extern const handler vectors_board[48];
const handler vectors_board[48] __attribute__((section(".vectors.board"), used)) = {
    [0 ... PDM_IRQ - 1] = port_fault, [PDM_IRQ] = interrupt, [PDM_IRQ + 1 ... 47] = port_fault,
};

void microphone_start(gunshot_ring *to) {
  ring = to;
  P0_OUTSET = 1u << POWER;
  P0_OUTCLR = 1u << CLOCK;
  P0_DIRSET = 1u << POWER | 1u << CLOCK; /* data is an input, as after reset */
  PDM_PSEL_CLK = PSEL(0, CLOCK);
  PDM_PSEL_DIN = PSEL(0, DATA);
  PDM_PDMCLKCTRL = PDM_CLK_1280K;
  PDM_RATIO = PDM_RATIO_80;
  PDM_MODE = PDM_MODE_MONO_LEFT_FALLING;
  PDM_GAINL = PDM_GAIN_0_DB;
  PDM_SAMPLE_PTR = (uint32_t)(uintptr_t)blocks[0];
  PDM_SAMPLE_MAXCNT = BLOCK;
  PDM_INTENSET = PDM_INT_STARTED | PDM_INT_END;
  NVIC_ISER0 = 1u << PDM_IRQ;
  PDM_ENABLE = 1;
  PDM_TASKS_START = 1;
}
