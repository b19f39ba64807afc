/* What a board gives to the application. A port hands samples to the ring by itself (an interrupt, DMA), or, where it
 * reads a wav, in port_wait. An application that takes images asks for slots.h and update.h as well. */
#ifndef GUNSHOT_PORT_H
#define GUNSHOT_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring.h"
#include "status.h"

/* Begin to fill the ring. `argv` as main's where there are arguments. */
GUNSHOT_CHECKED gunshot_status port_start(int argc, char **argv, gunshot_ring *ring);
/* Sleep until there may be samples. False where none will ever come again (the end of a wav). */
bool port_wait(void);
uint32_t port_clock_ms(void); /* since start, modulo 2^32; where a wav is read, its own time */
uint32_t port_device(void);   /* a number of this device's own */
uint32_t port_session(void);  /* a number of this start of it, which another start is most unlikely to have */
GUNSHOT_CHECKED gunshot_status port_send(const uint8_t *message, size_t size);
/* Say why the application ends; a board without anyone to tell it to resets. Returns main's result. */
int port_stop(gunshot_status status);

#endif
