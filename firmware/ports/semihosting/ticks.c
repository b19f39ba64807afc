/* SysTick, which with QEMU's -icount shift=0 advances by one instruction a nanosecond. */
#include "ticks.h"

#include "startup.h"

#define SYST_CSR (*(volatile uint32_t *)0xE000E010)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018)
enum { MOST = 0xFFFFFF, ENABLE = 1, PROCESSOR_CLOCK = 4 };

void ticks_start(void) {
  SYST_RVR = MOST;
  SYST_CVR = 0;
  SYST_CSR = ENABLE | PROCESSOR_CLOCK;
}

uint32_t ticks_now(void) { return MOST - SYST_CVR; }
uint32_t ticks_stack_used(void) { return startup_stack_used(); }
