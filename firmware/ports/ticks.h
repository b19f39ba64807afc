/* A counter of the machine's time, for gunshot_trace: GUNSHOT_TICKS_HZ (of the build) a second, modulo 2^24. */
#ifndef GUNSHOT_TICKS_H
#define GUNSHOT_TICKS_H

#include <stdint.h>

void ticks_start(void);
uint32_t ticks_now(void);
uint32_t ticks_stack_used(void); /* bytes of stack, the most since reset; 0 where none is known */

#endif
