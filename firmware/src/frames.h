/* Samples, in pieces of any size, to frames, each made once, and to windows of frames: gunshot/detect/listener.py.
 * The first frame stands for all those before it: as if it had sounded for ever. */
#ifndef GUNSHOT_FRAMES_H
#define GUNSHOT_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "constants.h"

#define GUNSHOT_FRAMES_ROWS (GUNSHOT_N_FRAMES + GUNSHOT_DETECTOR_HOP)

typedef struct {
  int16_t samples[GUNSHOT_N_FFT]; /* of the frame to come */
  size_t held;                    /* of them */
  int8_t codes[GUNSHOT_FRAMES_ROWS][GUNSHOT_N_MELS];
  size_t rows;   /* of codes; 0 before the first frame */
  uint32_t left; /* frames until a window ends */
  uint16_t peak; /* the largest |sample| among those that the last frame was the first to hold, 0 to 32768 */
} gunshot_frames;

/* Begin anew: before the first sample, and where samples are missing. */
void gunshot_frames_reset(gunshot_frames *frames);
/* Take samples up to the end of the next frame. Returns how many were taken: n, or fewer where a frame came before;
 * `complete` tells whether one did. */
size_t gunshot_frames_push(gunshot_frames *frames, const int16_t *samples, size_t n, bool *complete);
/* The codes of the last frame and of the PAST before it, oldest first, as gunshot_detector_rise takes them. Until the
 * next push. */
const int8_t *gunshot_frames_past(const gunshot_frames *frames);
/* The codes of the window that ends with the last frame, frame by frame, as gunshot_model_score takes them, or NULL
 * where none ends there. They end DETECTOR_HOP frames apart, one of them with frame N_FRAMES - DETECTOR_LEAD: the
 * detector's first. Those before it are for a model that keeps what windows share. Until the next push. */
const int8_t *gunshot_frames_window(const gunshot_frames *frames);

#endif
