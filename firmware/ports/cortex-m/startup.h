/* What a Cortex-M port without an operating system gives to the startup code, and gets from it. */
#ifndef GUNSHOT_STARTUP_H
#define GUNSHOT_STARTUP_H

#include <stdint.h>

_Noreturn void port_run(void);   /* call main */
_Noreturn void port_fault(void); /* any exception that nobody handles */

uint32_t startup_stack_used(void); /* bytes, the most since reset */

#endif
