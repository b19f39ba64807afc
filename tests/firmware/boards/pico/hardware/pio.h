#ifndef HARDWARE_PIO_H
#define HARDWARE_PIO_H

#include "pico/stdlib.h"

typedef struct {
  volatile uint32_t rxf[4];
} pio_hw_t;
typedef pio_hw_t *PIO;
extern pio_hw_t *const pio0;

typedef struct pio_program {
  const uint16_t *instructions;
  uint8_t length;
  int8_t origin;
} pio_program_t;

typedef struct {
  uint wrap_target, wrap, in_base, sideset_base, sideset_bits, push_threshold;
  bool shift_right, autopush, joined;
  uint32_t divider; /* in 256ths */
} pio_sm_config;
enum pio_fifo_join { PIO_FIFO_JOIN_RX = 2 };

int pio_claim_unused_sm(PIO pio, bool required);
bool pio_can_add_program(PIO pio, const pio_program_t *program);
int pio_add_program(PIO pio, const pio_program_t *program);
pio_sm_config pio_get_default_sm_config(void);
void sm_config_set_wrap(pio_sm_config *c, uint wrap_target, uint wrap);
void sm_config_set_in_pins(pio_sm_config *c, uint in_base);
void sm_config_set_sideset_pins(pio_sm_config *c, uint sideset_base);
void sm_config_set_sideset(pio_sm_config *c, uint bit_count, bool optional, bool pindirs);
void sm_config_set_in_shift(pio_sm_config *c, bool shift_right, bool autopush, uint push_threshold);
void sm_config_set_fifo_join(pio_sm_config *c, enum pio_fifo_join join);
void sm_config_set_clkdiv_int_frac(pio_sm_config *c, uint16_t div_int, uint8_t div_frac);
void pio_gpio_init(PIO pio, uint pin);
int pio_sm_set_consecutive_pindirs(PIO pio, uint sm, uint pins_base, uint pin_count, bool is_out);
int pio_sm_init(PIO pio, uint sm, uint initial_pc, const pio_sm_config *config);
uint pio_get_dreq(PIO pio, uint sm, bool is_tx);
void pio_sm_set_enabled(PIO pio, uint sm, bool enabled);

#endif
