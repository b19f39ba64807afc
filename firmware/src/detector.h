/* Window logits to incidents and shots, in integers alone: gunshot/detect/detector.py, integer for integer. */
#ifndef GUNSHOT_DETECTOR_H
#define GUNSHOT_DETECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "constants.h"

#define GUNSHOT_DETECTOR_RING 512   /* frames whose rise is kept; a power of two */
#define GUNSHOT_DETECTOR_PARTS 128  /* frames of which the rises of groups of bands are kept; a power of two */
#define GUNSHOT_DETECTOR_MOST_WINDOWS 32 /* whose logits are summed, at most */
/* Shots that a window decides, at most: those that rise among the frames that it looks at, and those at a steady rate.
 */
#define GUNSHOT_DETECTOR_MOST_SHOTS(frames) \
  ((frames) / GUNSHOT_DETECTOR_LOCAL + 1 + GUNSHOT_DETECTOR_SPAN / (GUNSHOT_DETECTOR_FASTEST - GUNSHOT_DETECTOR_NEAR))

typedef struct { /* as detector.Settings, and checked there */
  int32_t on, off, even, windows, hop, n_frames, first, stop, cooldown, min_rise;
  int32_t lead; /* frames that stand before the first, and do not rise: no shot is sought in them */
} gunshot_detector_settings;

typedef struct {
  int64_t onset;     /* frame, from the stream's beginning or its last gap, the lead among them */
  int64_t decided;   /* window at whose end it was decided */
  int32_t logit_sum; /* sum of the windows' logits there, in steps */
  uint8_t lean;      /* of the rise, from the frame before, 0, to the one after, SIXTEENTHS */
  uint8_t rise;      /* in sixteenths of the least rise */
  int64_t incident;  /* from 1 on */
} gunshot_shot;

typedef struct {
  gunshot_detector_settings settings;
  int64_t frames, windows, next, last, incident, quiet;
  int32_t steepest;
  bool open;
  int32_t rises[GUNSHOT_DETECTOR_RING];
  int16_t parts[GUNSHOT_DETECTOR_PARTS][GUNSHOT_DETECTOR_GROUPS];
  int16_t recent[GUNSHOT_DETECTOR_MOST_WINDOWS];
} gunshot_detector;

/* Begin a stream. */
void gunshot_detector_init(gunshot_detector *detector, const gunshot_detector_settings *settings);
/* How far a frame rises above the PAST before it, by groups of bands: `codes` of PAST + 1 frames, oldest first, each of
 * N_MELS bands; `rise` of GROUPS. */
void gunshot_detector_rise(const int8_t *codes, int16_t *rise);
/* Take the rise of the next frame, of GROUPS. */
void gunshot_detector_frame(gunshot_detector *detector, const int16_t *rise);
/* Take the logit of the next window, whose frames were all taken, the last just now, and write the shots that it
 * decides to `shots`, room for MOST_SHOTS((windows - 1) hop + n_frames) of them. Returns how many. */
size_t gunshot_detector_window(gunshot_detector *detector, int16_t logit, gunshot_shot *shots);

#endif
