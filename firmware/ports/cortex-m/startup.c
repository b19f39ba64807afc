/* From reset to the board's port_run: memory as C expects it, and a stack whose use can be read. */
#include "startup.h"

#define CPACR (*(volatile uint32_t *)0xE000ED88) /* System Control Block, Armv7-M and Armv8-M manuals */
#define VTOR (*(volatile uint32_t *)0xE000ED08)
#define PAINT 0xA5A5A5A5u

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[], stack_start[], stack_end[]; /* by ld */

typedef void (*handler)(void);
typedef struct {
  uint32_t *stack;
  handler reset, others[14]; /* faults, and interrupts of the core itself */
} vectors;

extern const vectors vectors_core;
extern const handler constructors_start[], constructors_end[]; /* by ld */

static void reset(void) {
  __asm volatile("cpsid i");
  VTOR = (uint32_t)(uintptr_t)&vectors_core; /* a bootloader may have left its own */
  CPACR |= 0xFu << 20;                      /* FPU and Helium, before any float */
  __asm volatile("dsb\n isb");
  uint32_t *here = __builtin_frame_address(0);
  for (volatile uint32_t *word = stack_start; word < here - 16; word++) *word = PAINT;
  for (uint32_t *from = data_load, *to = data_start; to < data_end;) *to++ = *from++;
  for (uint32_t *word = bss_start; word < bss_end;) *word++ = 0;
  for (const handler *constructor = constructors_start; constructor < constructors_end; constructor++) (*constructor)();
  __asm volatile("cpsie i");
  port_run();
}

const vectors vectors_core __attribute__((section(".vectors.core"), used)) = {
    stack_end, reset, {[0 ... 13] = port_fault}};

uint32_t startup_stack_used(void) {
  const uint32_t *word = stack_start;
  while (word < stack_end && *word == PAINT) word++;
  return (uint32_t)((uintptr_t)stack_end - (uintptr_t)word);
}
