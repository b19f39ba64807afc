/* A gunshot detector for a program of your own: samples of a microphone in, incidents out. No heap, no clock, one of it
 * in a program. C99 and later, C++11 and later.
 *
 *   static void heard(const gunshot_heard *incident, void *context) { ... }
 *
 *   gunshot_listener_begin(heard, NULL);
 *   gunshot_listener_hear(samples, n);    // again and again, samples of any number
 *
 * Where samples come in an interrupt, hand them over there, and compute in the main loop:
 *
 *   gunshot_listener_write(samples, n);   // in the interrupt, at most 2,048 samples ahead of the loop
 *   gunshot_listener_poll();              // in the loop, twenty times a second or more
 *
 * Samples are int16, mono, 16,000 a second. Not more gain than the microphone needs: a shot that clips is still one,
 * but its level is then wrong. */
#ifndef GUNSHOT_LISTENER_H
#define GUNSHOT_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gunshot_version.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GUNSHOT_LISTENER_RATE 16000 /* samples a second */

/* What becomes of an incident: a shot, or several that belong together. */
typedef enum {
  GUNSHOT_HEARD_OPENED = 1,  /* with the first shot, some 0.3 s after it */
  GUNSHOT_HEARD_UPDATED = 2, /* there were more shots; once a second at most */
  GUNSHOT_HEARD_CLOSED = 4   /* there was quiet for a while, or samples are missing, or the program ended it */
} gunshot_heard_state;

typedef struct {
  uint32_t incident;         /* its number since begin, from 1 on */
  gunshot_heard_state state; /* of this incident */
  uint32_t shots;            /* so far */
  uint64_t onset;            /* the sample at which the first shot began, from 0 at begin, lost ones too */
  uint64_t decided;          /* the sample at which its last shot so far was decided */
  float score;               /* the highest so far, 0 to 1 */
  float level_db;            /* the highest so far, dB SPL: true for the microphone that the model was exported for */
  const uint64_t *onsets;    /* of the shots that were in no call before, as far as there was room for them (32) */
  size_t onset_count;        /* how many of those; 0: none */
} gunshot_heard;

/* Called from hear, poll and end, never from write. What it is given lasts until it returns. */
typedef void gunshot_heard_callback(const gunshot_heard *heard, void *context);

/* Begin, or begin anew, while nothing writes. False where the model in flash is damaged: nothing is heard then. */
bool gunshot_listener_begin(gunshot_heard_callback *callback, void *context);
/* Hear the next `n` samples. A frame is 112 of them; with every eighth one the network decides, which takes longest. */
void gunshot_listener_hear(const int16_t *samples, size_t n);
/* Hand `n` samples over, for the next poll. All of them are lost where 2,048 cannot hold them with what waits; which
 * are missing is known, and no shot is sought across the gap. It may interrupt poll. */
void gunshot_listener_write(const int16_t *samples, size_t n);
/* Hear what was written. */
void gunshot_listener_poll(void);
/* No sample will come: hear what was written, and close the incident that is open. */
void gunshot_listener_end(void);
/* Samples lost since begin, as they came faster than they were heard; counted when those after them are heard. */
uint64_t gunshot_listener_lost(void);

#ifdef __cplusplus
}
#endif

#endif
