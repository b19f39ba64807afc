/* What firmware/ports/rp2040 uses of the Pico SDK 2's pico/stdlib.h, pico/types.h, pico/time.h and hardware/gpio.h. */
#ifndef PICO_STDLIB_H
#define PICO_STDLIB_H

#include <stdbool.h>
#include <stdint.h>

typedef unsigned int uint;
#define count_of(a) (sizeof(a) / sizeof((a)[0]))

typedef uint64_t absolute_time_t;
absolute_time_t get_absolute_time(void);
uint32_t to_ms_since_boot(absolute_time_t t);

typedef enum gpio_function { GPIO_FUNC_UART = 2 } gpio_function_t;
void gpio_set_function(uint gpio, gpio_function_t fn);

#endif
