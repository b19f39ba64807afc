#include "microphone.h"

#include "constants.h"
#include "hardware/clocks.h"
#include "hardware/dma.h"
#include "hardware/irq.h"
#include "hardware/pio.h"

/* Pins: set them to yours. The word clock is the pin after the bit clock. */
#define PIN_DATA 2u
#define PIN_CLOCK 3u

enum {
  BLOCK = GUNSHOT_HOP_LENGTH, /* samples between interrupts; 7 ms */
  SLOT = 32,                  /* bits */
  CYCLES = 2 * 2 * SLOT       /* of the state machine, for a sample: two slots, two cycles a bit */
};

/* The side-set pins: word clock (0: the left slot) and bit clock. */
#define PINS(word, clock) ((word) << 12 | (clock) << 11)
#define SET_X(n) (0xe020 | (n))
#define JUMP_X_DECREMENTED(to) (0x0040 | (to))
#define IN_PIN 0x4001
#define NOTHING 0xa042

/* A bit is a cycle of low and one of high clock. The microphone changes its data as the clock falls, and begins a slot
 * one bit after the word clock changes; so the left slot's bits are read at bits 1 to 32 of 64. */
static const uint16_t instructions[] = {
    SET_X(29) | PINS(0, 1),             /* bit 0 */
    NOTHING | PINS(0, 0),               /* bit 1 */
    IN_PIN | PINS(0, 1),                /* bits 1 to 30 */
    JUMP_X_DECREMENTED(2) | PINS(0, 0), /* bits 2 to 31 */
    IN_PIN | PINS(0, 1),                /* bit 31 */
    SET_X(30) | PINS(1, 0),             /* bit 32: the word clock changes a bit before the right slot */
    IN_PIN | PINS(1, 1),
    NOTHING | PINS(1, 0), /* bits 33 to 63, of the right slot */
    JUMP_X_DECREMENTED(7) | PINS(1, 1),
    NOTHING | PINS(0, 0), /* bit 0 */
};
static const pio_program_t program = {.instructions = instructions, .length = count_of(instructions), .origin = -1};

static uint32_t blocks[2][BLOCK]; /* one is filled while the other is read */
static unsigned filled;
static int channel;
static gunshot_ring *ring;

/* A block is full. Until DMA goes on, the state machine's FIFO holds eight samples. */
static void interrupt(void) {
  static int16_t samples[BLOCK];
  dma_channel_acknowledge_irq0((uint)channel);
  const uint32_t *slots = blocks[filled];
  filled ^= 1;
  dma_channel_set_write_addr((uint)channel, blocks[filled], true);
  for (int i = 0; i < BLOCK; i++) samples[i] = (int16_t)(slots[i] >> 16); /* the upper 16 bits: full scale stays */
  gunshot_ring_write(ring, samples, BLOCK);
}

static void start_clocks(uint machine, uint offset) {
  pio_sm_config config = pio_get_default_sm_config();
  sm_config_set_wrap(&config, offset, offset + count_of(instructions) - 1);
  sm_config_set_in_pins(&config, PIN_DATA);
  sm_config_set_sideset_pins(&config, PIN_CLOCK);
  sm_config_set_sideset(&config, 2, false, false);
  sm_config_set_in_shift(&config, false, true, SLOT); /* the highest bit comes first */
  sm_config_set_fifo_join(&config, PIO_FIFO_JOIN_RX);
  /* In 256ths: 61 9/256 at 125 MHz and 73 62/256 at 150 MHz are 16 kHz to the digit. */
  const uint32_t divider = (uint32_t)(((uint64_t)clock_get_hz(clk_sys) << 8) / (GUNSHOT_SR * CYCLES));
  sm_config_set_clkdiv_int_frac(&config, (uint16_t)(divider >> 8), (uint8_t)divider);
  pio_gpio_init(pio0, PIN_DATA);
  pio_gpio_init(pio0, PIN_CLOCK);
  pio_gpio_init(pio0, PIN_CLOCK + 1);
  pio_sm_set_consecutive_pindirs(pio0, machine, PIN_DATA, 1, false);
  pio_sm_set_consecutive_pindirs(pio0, machine, PIN_CLOCK, 2, true);
  pio_sm_init(pio0, machine, offset, &config);
}

bool microphone_start(gunshot_ring *to) {
  ring = to;
  const int machine = pio_claim_unused_sm(pio0, false);
  channel = dma_claim_unused_channel(false);
  if (machine < 0 || channel < 0 || !pio_can_add_program(pio0, &program)) return false;
  start_clocks((uint)machine, (uint)pio_add_program(pio0, &program));
  dma_channel_config config = dma_channel_get_default_config((uint)channel); /* 32 bits a transfer */
  channel_config_set_read_increment(&config, false);
  channel_config_set_write_increment(&config, true);
  channel_config_set_dreq(&config, pio_get_dreq(pio0, (uint)machine, false));
  dma_channel_set_irq0_enabled((uint)channel, true);
  irq_set_exclusive_handler(DMA_IRQ_0, interrupt);
  irq_set_enabled(DMA_IRQ_0, true);
  dma_channel_configure((uint)channel, &config, blocks[0], &pio0->rxf[machine], BLOCK, true);
  pio_sm_set_enabled(pio0, (uint)machine, true);
  return true;
}
