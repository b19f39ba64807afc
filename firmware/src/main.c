/* Listen for ever, to the end of a wav, or until another image is to run. */
#include <stdalign.h>

#include "gunshot.h"
#include "port.h"
#if GUNSHOT_TAKES_IMAGES
#include GUNSHOT_OTA_KEY
#include "update.h"

static gunshot_update update;
static const gunshot_ota_device device = {gunshot_ota_key, GUNSHOT_DEVICE_CLASS, GUNSHOT_OTA_INSTALLED};
#endif

static gunshot_ring ring;
static gunshot_app app;
alignas(16) static uint8_t arena[GUNSHOT_ARENA_BYTES];

#if GUNSHOT_TAKES_IMAGES
uint64_t update_given(void) { return gunshot_given(&app); }
#endif

static void begin(void) {
#if GUNSHOT_TAKES_IMAGES
  gunshot_slots_boot(&update.slots, &device); /* as no bootloader has */
  gunshot_update_start(&update);
#endif
}

/* Sleep until there may be samples. False where the application ends. */
static bool wait(void) {
#if GUNSHOT_TAKES_IMAGES
  if (gunshot_update_poll(&update)) return false; /* and the next start runs another image */
#endif
  return port_wait();
}

int main(int argc, char **argv) {
  gunshot_ring_init(&ring);
  gunshot_status status = gunshot_init(&app, &ring, arena, sizeof arena);
  if (status == GUNSHOT_OK) status = port_start(argc, argv, &ring);
  if (status == GUNSHOT_OK) {
    begin();
    gunshot_follow_site(&app); /* that the port has brought, if any */
    do {
      gunshot_poll(&app);
    } while (wait());
    gunshot_poll(&app);
    gunshot_end(&app);
  }
  return port_stop(status);
}
