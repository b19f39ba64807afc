/* The rest of a chip for firmware/ports/rp2040: DMA that moves a block while the processor waits, and then interrupts
 * it; UART0 writes to standard output; time is the samples'. What is set otherwise than it must be ends it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hardware/clocks.h"
#include "hardware/dma.h"
#include "hardware/irq.h"
#include "hardware/sync.h"
#include "hardware/uart.h"
#include "hardware/watchdog.h"
#include "machine.h"
#include "pico/rand.h"
#include "pico/unique_id.h"

enum { OFFSET = 7, MACHINE = 1, CHANNEL = 3, DREQ = 5, HZ = 125000000 };

static void must(bool right, const char *rule) {
  if (right) return;
  fprintf(stderr, "chip: %s\n", rule);
  exit(3);
}

static pio_hw_t pio;
pio_hw_t *const pio0 = &pio;
static bool output[32], given[32], enabled, interrupts[2];
static pio_sm_config machine;
static uint64_t samples;

int pio_claim_unused_sm(PIO of, bool required) { return of == pio0 && !required ? MACHINE : -1; }
bool pio_can_add_program(PIO of, const pio_program_t *program) { return of == pio0 && program->length <= 32; }
int pio_add_program(PIO of, const pio_program_t *program) {
  must(of == pio0 && program->origin == -1, "program");
  machine_load(program, OFFSET);
  return OFFSET;
}
pio_sm_config pio_get_default_sm_config(void) { return (pio_sm_config){.shift_right = true, .push_threshold = 32}; }
void sm_config_set_wrap(pio_sm_config *c, uint target, uint wrap) { c->wrap_target = target, c->wrap = wrap; }
void sm_config_set_in_pins(pio_sm_config *c, uint base) { c->in_base = base; }
void sm_config_set_sideset_pins(pio_sm_config *c, uint base) { c->sideset_base = base; }
void sm_config_set_sideset(pio_sm_config *c, uint bits, bool optional, bool pindirs) {
  must(!optional && !pindirs, "side-set");
  c->sideset_bits = bits;
}
void sm_config_set_in_shift(pio_sm_config *c, bool right, bool autopush, uint threshold) {
  c->shift_right = right, c->autopush = autopush, c->push_threshold = threshold;
}
void sm_config_set_fifo_join(pio_sm_config *c, enum pio_fifo_join join) { c->joined = join == PIO_FIFO_JOIN_RX; }
void sm_config_set_clkdiv_int_frac(pio_sm_config *c, uint16_t whole, uint8_t part) { c->divider = whole * 256u + part; }
void pio_gpio_init(PIO of, uint pin) { given[pin] = of == pio0; }
int pio_sm_set_consecutive_pindirs(PIO of, uint sm, uint base, uint count, bool is_out) {
  must(of == pio0 && sm == MACHINE, "directions");
  for (uint i = 0; i < count; i++) output[base + i] = is_out;
  return 0;
}
int pio_sm_init(PIO of, uint sm, uint pc, const pio_sm_config *c) {
  must(of == pio0 && sm == MACHINE && c->joined, "state machine");
  must((uint64_t)HZ * 256 == (uint64_t)c->divider * 128 * 16000, "128 cycles a sample at 16 kHz, exactly");
  for (uint pin = 2; pin < 5; pin++) must(given[pin] && output[pin] == (pin > 2), "pins");
  machine = *c;
  machine_start(pc, &machine, 2, 3);
  return 0;
}
uint pio_get_dreq(PIO of, uint sm, bool is_tx) { return of == pio0 && sm == MACHINE && !is_tx ? DREQ : 0; }
void pio_sm_set_enabled(PIO of, uint sm, bool on) { enabled = of == pio0 && sm == MACHINE && on; }

static struct {
  uint32_t *to, count;
  bool runs, acknowledged;
} moved;
static irq_handler_t handler;

int dma_claim_unused_channel(bool required) { return required ? -1 : CHANNEL; }
dma_channel_config dma_channel_get_default_config(uint channel) {
  return (dma_channel_config){.read_increment = true, .dreq = channel == CHANNEL ? 63 : 0};
}
void channel_config_set_read_increment(dma_channel_config *c, bool on) { c->read_increment = on; }
void channel_config_set_write_increment(dma_channel_config *c, bool on) { c->write_increment = on; }
void channel_config_set_dreq(dma_channel_config *c, uint dreq) { c->dreq = dreq; }
void dma_channel_configure(uint channel, const dma_channel_config *c, volatile void *to, const volatile void *from,
                           uint32_t count, bool trigger) {
  must(channel == CHANNEL && from == &pio.rxf[MACHINE] && c->dreq == DREQ, "what DMA reads");
  must(!c->read_increment && c->write_increment && trigger, "how DMA counts");
  moved.to = (uint32_t *)to, moved.count = count, moved.runs = true;
}
void dma_channel_set_write_addr(uint channel, volatile void *to, bool trigger) {
  must(channel == CHANNEL && trigger && !moved.runs, "the next block");
  moved.to = (uint32_t *)to, moved.runs = true;
}
void dma_channel_set_irq0_enabled(uint channel, bool on) { interrupts[0] = channel == CHANNEL && on; }
void dma_channel_acknowledge_irq0(uint channel) { moved.acknowledged = channel == CHANNEL; }
void irq_set_exclusive_handler(uint number, irq_handler_t each) { handler = number == DMA_IRQ_0 ? each : NULL; }
void irq_set_enabled(uint number, bool on) { interrupts[1] = number == DMA_IRQ_0 && on; }

void __wfi(void) {
  must(enabled && moved.runs && interrupts[0] && interrupts[1], "nothing runs that would end the wait");
  for (uint32_t i = 0; i < moved.count; i++) moved.to[i] = machine_next();
  samples += moved.count;
  moved.runs = moved.acknowledged = false;
  handler();
  must(moved.acknowledged, "an interrupt that nobody acknowledges comes for ever");
}

uint32_t clock_get_hz(enum clock_index clock) { return clock == clk_sys ? HZ : 0; }
absolute_time_t get_absolute_time(void) { return samples; }
uint32_t to_ms_since_boot(absolute_time_t t) { return (uint32_t)(t / 16); }
uint32_t get_rand_32(void) { return 0x5e551011; }
void pico_get_unique_board_id(pico_unique_board_id_t *board) { memcpy(board->id, "\x0\x0\x0\x0\x6\x5\x4\x3", 8); }
void watchdog_reboot(uint32_t pc, uint32_t sp, uint32_t delay_ms) { exit(pc || sp || delay_ms ? 3 : 9); }

struct uart_inst {
  bool begun, pin;
};
static struct uart_inst line;
uart_inst_t *const uart0 = &line;
uint uart_init(uart_inst_t *uart, uint baud) {
  uart->begun = baud == 921600;
  return baud;
}
void gpio_set_function(uint gpio, gpio_function_t function) { line.pin = gpio == 0 && function == GPIO_FUNC_UART; }
void uart_write_blocking(uart_inst_t *uart, const uint8_t *bytes, size_t size) {
  must(uart->begun && uart->pin, "the line");
  fwrite(bytes, 1, size, stdout);
}
