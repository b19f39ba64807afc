/* A state machine of a PIO with an I2S microphone at its pins. */
#ifndef MACHINE_H
#define MACHINE_H

#include "hardware/pio.h"

/* Load a program; its jumps move with it. */
void machine_load(const pio_program_t *program, uint offset);
void machine_start(uint pc, const pio_sm_config *config, uint data, uint clock);
/* Run until 32 bits were pushed, and return them. */
uint32_t machine_next(void);

#endif
