/* A host counts no instructions. */
#include "ticks.h"

void ticks_start(void) {}
uint32_t ticks_now(void) { return 0; }
uint32_t ticks_stack_used(void) { return 0; }
