/* Listen for ever, or to the end of a wav. */
#include <stdalign.h>

#include "gunshot.h"
#include "port.h"

static gunshot_ring ring;
static gunshot_app app;
alignas(16) static uint8_t arena[GUNSHOT_ARENA_BYTES];

int main(int argc, char **argv) {
  gunshot_ring_init(&ring);
  gunshot_status status = gunshot_init(&app, &ring, arena, sizeof arena);
  if (status == GUNSHOT_OK) status = port_start(argc, argv, &ring);
  if (status == GUNSHOT_OK) {
    gunshot_follow_site(&app); /* that the port has brought, if any */
    do {
      gunshot_poll(&app);
    } while (port_wait());
    gunshot_poll(&app);
    gunshot_end(&app);
  }
  return port_stop(status);
}
