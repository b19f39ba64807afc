/* The port of a program that hands samples in by calls: the application of firmware/src; its messages become calls. */
#include "gunshot_listener.h"

#include <stdalign.h>
#include <string.h>

#include "gunshot.h"
#include "message.h"
#include "network.h"
#include "port.h"

enum { BLOCK = 256 /* samples that `hear` hands over at once */ };

_Static_assert(GUNSHOT_SR == GUNSHOT_LISTENER_RATE, "the header tells the rate of the model");
_Static_assert((int)GUNSHOT_HEARD_OPENED == (int)GUNSHOT_OPENED && (int)GUNSHOT_HEARD_UPDATED == (int)GUNSHOT_UPDATED &&
                   (int)GUNSHOT_HEARD_CLOSED == (int)GUNSHOT_CLOSED,
               "states are those of a message");

static gunshot_ring ring;
static gunshot_app app;
alignas(16) static uint8_t arena[GUNSHOT_NETWORK_ARENA_BYTES];
static uint64_t onsets[GUNSHOT_DETECTOR_MOST_ONSETS];
static gunshot_heard_callback *callback;
static void *context;
static bool begun;
static uint64_t handed; /* samples, as far as the clock was asked for */
static uint32_t seen;   /* of the ring's counters */

static uint32_t written(void) { return ring.written + ring.dropped; }

/* The samples' own time: it is asked for far more often than the counters run over, in 74 hours. */
uint32_t port_clock_ms(void) {
  const uint32_t now = written();
  handed += (uint32_t)(now - seen);
  seen = now;
  return (uint32_t)(handed * 1000 / GUNSHOT_SR);
}

uint32_t port_device(void) { return 0; }

uint32_t port_session(void) { return 0; }

static void call(const gunshot_incident *incident) {
  if (incident->onset_count > 0) memcpy(onsets, incident->onsets, incident->onset_count * sizeof *onsets);
  const gunshot_heard heard = {.incident = incident->incident,
                               .state = (gunshot_heard_state)incident->state,
                               .shots = incident->shots,
                               .onset = incident->onset,
                               .decided = incident->decided,
                               .score = incident->score / 65535.0f,
                               .level_db = incident->spl_db / 10.0f,
                               .onsets = onsets,
                               .onset_count = incident->onset_count};
  callback(&heard, context);
}

/* Heartbeats are for a hub. */
gunshot_status port_send(const uint8_t *bytes, size_t size) {
  gunshot_message message;
  const gunshot_status status = gunshot_message_decode(bytes, size, &message);
  if (status == GUNSHOT_OK && message.kind == GUNSHOT_INCIDENT) call(&message.incident);
  return status;
}

bool gunshot_listener_begin(gunshot_heard_callback *call_back, void *with) {
  callback = call_back;
  context = with;
  handed = seen = 0;
  gunshot_ring_init(&ring);
  begun = gunshot_init(&app, &ring, arena, sizeof arena) == GUNSHOT_OK;
  gunshot_listener_poll();
  return begun;
}

void gunshot_listener_write(const int16_t *samples, size_t n) { gunshot_ring_write(&ring, samples, n); }

void gunshot_listener_poll(void) {
  if (begun) gunshot_poll(&app);
}

void gunshot_listener_hear(const int16_t *samples, size_t n) {
  for (size_t i = 0; i < n; i += BLOCK) {
    gunshot_listener_write(samples + i, n - i < BLOCK ? n - i : BLOCK);
    gunshot_listener_poll();
  }
}

void gunshot_listener_end(void) {
  gunshot_listener_poll();
  if (begun) gunshot_end(&app);
}

uint64_t gunshot_listener_lost(void) { return app.counts.dropped; }
