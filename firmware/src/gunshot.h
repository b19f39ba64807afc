/* The application: samples of the ring to frames, windows, shots and messages. No audio is kept beyond the ring. */
#ifndef GUNSHOT_APP_H
#define GUNSHOT_APP_H

#include <stddef.h>
#include <stdint.h>

#include "constants.h"
#include "detector.h"
#include "frames.h"
#include "message.h"
#include "ring.h"
#include "status.h"
#include "wake.h"

/* Frames whose peaks are kept: all that a window can place a shot in, and those before that it rises from. */
#define GUNSHOT_LOOKED_AT ((GUNSHOT_DETECTOR_WINDOWS - 1) * GUNSHOT_DETECTOR_HOP + GUNSHOT_N_FRAMES)
#define GUNSHOT_PEAKS                                                                                \
  ((GUNSHOT_LOOKED_AT > GUNSHOT_DETECTOR_SPAN ? GUNSHOT_LOOKED_AT : GUNSHOT_DETECTOR_SPAN) + \
   GUNSHOT_DETECTOR_HOP + GUNSHOT_DETECTOR_PAST)

typedef struct {
  gunshot_ring *ring;
#if GUNSHOT_WAKE_DB
  gunshot_wake wake;
#endif
  gunshot_frames frames;
  gunshot_detector detector;
  uint16_t peaks[GUNSHOT_PEAKS];
  gunshot_heartbeat counts; /* and what the next heartbeat says */
  uint32_t sequence, dropped, clock_ms;
  uint64_t beat_ms; /* uptime at which a heartbeat is due */
  uint64_t begun;   /* sample at which the first frame began, or the first after a gap */
  uint64_t squares; /* of the samples since the last heartbeat */
  uint64_t squared; /* how many */
  uint32_t still;   /* samples that the microphone gave one value, or full scale alone */
  int16_t sample;   /* the last */
  uint32_t incidents;        /* since start */
  gunshot_incident incident; /* that is open, as its next message tells it; without a state where none is */
  uint64_t last_message;     /* sample at which the window ended after which it was told last */
  uint64_t onsets[GUNSHOT_DETECTOR_MOST_ONSETS]; /* of its shots that no message holds, as far as they fit */
  uint16_t waiting;                              /* how many */
  bool evidence; /* the log-mel of its highest score waits in `message`, where it will be sent from */
  uint8_t message[GUNSHOT_INCIDENT_BYTES(GUNSHOT_N_FRAMES * GUNSHOT_N_MELS, GUNSHOT_DETECTOR_MOST_ONSETS)];
} gunshot_app;

/* Begin, with the promoted model in `arena`, which it uses from then on. */
GUNSHOT_CHECKED gunshot_status gunshot_init(gunshot_app *app, gunshot_ring *ring, uint8_t *arena, size_t arena_bytes);
/* Begin anew by the profile that site.h uses, if it uses one. */
void gunshot_follow_site(gunshot_app *app);
/* Take all that the ring holds, and send what is to be told. The first call sends a heartbeat. */
void gunshot_poll(gunshot_app *app);
/* Send a heartbeat, due or not. */
void gunshot_beat(gunshot_app *app);
/* How many samples the port has given since start, lost ones too; those that the ring still holds among them. */
static inline uint64_t gunshot_given(const gunshot_app *app) {
  const uint64_t known = app->counts.heard + app->counts.dropped;
  return known + (uint32_t)(gunshot_ring_given(app->ring) - (uint32_t)known);
}
/* No sample will come: close the incident that is open, and send a heartbeat. */
void gunshot_end(gunshot_app *app);

#endif
