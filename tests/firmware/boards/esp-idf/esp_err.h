#include <stdlib.h>
typedef int esp_err_t;
#define ESP_OK 0
#define ESP_ERR_TIMEOUT 0x107
#define ESP_ERROR_CHECK(x) \
  do {                     \
    if (x) abort();        \
  } while (0)
