#include "frames.h"

#include <string.h>

#include "log_mel.h"

enum {
  KEPT = GUNSHOT_N_FRAMES - 1,
  FIRST = 1 + (KEPT - GUNSHOT_DETECTOR_LEAD) % GUNSHOT_DETECTOR_HOP, /* frames until the first window ends */
  PAST = GUNSHOT_DETECTOR_PAST,
  OVERLAP = GUNSHOT_N_FFT - GUNSHOT_HOP_LENGTH
};

_Static_assert(OVERLAP >= 0, "a hop must be no longer than a frame: each sample is in one");
_Static_assert(GUNSHOT_DETECTOR_LEAD <= KEPT, "the detector's first window must hold a frame that was heard");
_Static_assert(KEPT >= PAST, "a window must be longer than the past that a frame rises from");

void gunshot_frames_reset(gunshot_frames *frames) {
  frames->held = 0;
  frames->rows = 0;
  frames->left = FIRST;
  frames->peak = 0;
}

static uint16_t peak(const int16_t *samples, size_t n) {
  int32_t most = 0;
  for (size_t i = 0; i < n; i++) {
    int32_t size = samples[i] < 0 ? -samples[i] : samples[i];
    most = size > most ? size : most;
  }
  return (uint16_t)most;
}

/* The codes of the whole frame in `samples` to the next row; the oldest rows go where there is no room. */
static void add(gunshot_frames *frames) {
  float mel[GUNSHOT_N_MELS];
  gunshot_mel(frames->samples, mel);
  if (frames->rows == GUNSHOT_FRAMES_ROWS) {
    memmove(frames->codes, frames->codes[GUNSHOT_FRAMES_ROWS - KEPT], sizeof frames->codes[0] * KEPT);
    frames->rows = KEPT;
  }
  gunshot_log_mel_codes(mel, frames->codes[frames->rows++]);
  for (; frames->rows < GUNSHOT_N_FRAMES; frames->rows++) {
    memcpy(frames->codes[frames->rows], frames->codes[0], sizeof frames->codes[0]);
  }
}

size_t gunshot_frames_push(gunshot_frames *frames, const int16_t *samples, size_t n, bool *complete) {
  size_t room = GUNSHOT_N_FFT - frames->held, taken = n < room ? n : room;
  memcpy(frames->samples + frames->held, samples, taken * sizeof *samples);
  frames->held += taken;
  *complete = frames->held == GUNSHOT_N_FFT;
  if (*complete) {
    size_t old = frames->rows == 0 ? 0 : OVERLAP;
    frames->peak = peak(frames->samples + old, GUNSHOT_N_FFT - old);
    add(frames);
    frames->left = frames->left == 0 ? GUNSHOT_DETECTOR_HOP - 1 : frames->left - 1;
    memmove(frames->samples, frames->samples + GUNSHOT_HOP_LENGTH, OVERLAP * sizeof *samples);
    frames->held = OVERLAP;
  }
  return taken;
}

const int8_t *gunshot_frames_past(const gunshot_frames *frames) {
  return frames->codes[frames->rows - 1 - PAST];
}

const int8_t *gunshot_frames_window(const gunshot_frames *frames) {
  return frames->left == 0 ? frames->codes[frames->rows - GUNSHOT_N_FRAMES] : NULL;
}
