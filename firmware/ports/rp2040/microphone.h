/* An I2S microphone (INMP441, ICS-43434: 24 bits in slots of 32, L/R at ground) by a state machine of PIO 0. */
#ifndef MICROPHONE_H
#define MICROPHONE_H

#include <stdbool.h>

#include "ring.h"

/* Fill the ring from DMA's interrupt. False where PIO or DMA has no room left. */
bool microphone_start(gunshot_ring *ring);

#endif
