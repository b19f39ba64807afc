#include <stddef.h>

#include "pico/stdlib.h"
typedef struct uart_inst uart_inst_t;
extern uart_inst_t *const uart0;
uint uart_init(uart_inst_t *uart, uint baudrate);
void uart_write_blocking(uart_inst_t *uart, const uint8_t *src, size_t len);
