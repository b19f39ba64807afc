/* The board's MP34DT05, through the PDM peripheral to the ring. */
#ifndef GUNSHOT_MICROPHONE_H
#define GUNSHOT_MICROPHONE_H

#include "ring.h"

void microphone_start(gunshot_ring *ring);

#endif
