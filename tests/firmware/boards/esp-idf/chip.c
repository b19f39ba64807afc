/* The rest of a chip for firmware/ports/esp32s3: one thread in which the microphone's task runs until it has something
 * to say, then the application; UART1 writes to standard output; time is the samples'. */
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/i2s_std.h"
#include "driver/uart.h"
#include "esp_mac.h"
#include "esp_random.h"
#include "esp_system.h"
#include "esp_timer.h"
#include "freertos/task.h"

struct task {
  int number;
};
static struct task application = {1};
static TaskFunction_t microphone;
static jmp_buf waiting;
static bool installed, configured;
static int64_t now_us;

TaskHandle_t xTaskGetCurrentTaskHandle(void) { return &application; }

BaseType_t xTaskCreatePinnedToCore(TaskFunction_t code, const char *name, uint32_t stack, void *parameters,
                                   UBaseType_t priority, TaskHandle_t *created, BaseType_t core) {
  (void)name, (void)parameters, (void)created;
  microphone = code;
  return stack >= 2048 && priority > 1 && core == 1 ? pdPASS : 0;
}

/* The task's loop keeps nothing on its stack from one block to the next, so that it can be begun anew for each. */
uint32_t ulTaskNotifyTake(BaseType_t clear, TickType_t ticks) {
  (void)clear, (void)ticks;
  if (setjmp(waiting) == 0) microphone(NULL);
  return 1;
}

BaseType_t xTaskNotifyGive(TaskHandle_t task) {
  now_us += 7000;
  longjmp(waiting, task == &application);
}

int64_t esp_timer_get_time(void) { return now_us; }
uint32_t esp_random(void) { return 0x5e551011; }
void esp_restart(void) { exit(9); }

esp_err_t esp_efuse_mac_get_default(uint8_t *mac) {
  memcpy(mac, "\x01\x02\x03\x04\x05\x06", 6);
  return ESP_OK;
}

esp_err_t uart_driver_install(uart_port_t port, int rx, int tx, int queue_size, QueueHandle_t *queue, int flags) {
  installed = port == UART_NUM_1 && rx > 128 && (tx == 0 || tx > 128) && queue_size == 0 && !queue && flags == 0;
  return installed ? ESP_OK : 1;
}

esp_err_t uart_param_config(uart_port_t port, const uart_config_t *config) {
  configured = port == UART_NUM_1 && config->data_bits == UART_DATA_8_BITS && config->baud_rate == 921600;
  return configured ? ESP_OK : 1;
}

esp_err_t uart_set_pin(uart_port_t port, int tx, int rx, int rts, int cts) {
  return port == UART_NUM_1 && tx == 17 && rx == -1 && rts == -1 && cts == -1 ? ESP_OK : 1;
}

int uart_write_bytes(uart_port_t port, const void *bytes, size_t size) {
  return port == UART_NUM_1 && installed && configured ? (int)fwrite(bytes, 1, size, stdout) : -1;
}
