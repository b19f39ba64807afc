/* The front end over whole arrays, for tests: as a library, or as a program that reads them from its input. */
#include <stdio.h>
#include <string.h>

#include "frames.h"
#include "log_mel.h"

typedef struct {
  uint16_t peak;
  int8_t past[GUNSHOT_DETECTOR_PAST + 1][GUNSHOT_N_MELS], ends, window[GUNSHOT_N_FRAMES][GUNSHOT_N_MELS];
} row;

void log_mels(const int16_t *samples, size_t n_frames, float *mel, int8_t *codes) {
  for (size_t t = 0; t < n_frames; t++) {
    gunshot_mel(samples + t * GUNSHOT_HOP_LENGTH, mel + t * GUNSHOT_N_MELS);
    gunshot_log_mel_codes(mel + t * GUNSHOT_N_MELS, codes + t * GUNSHOT_N_MELS);
  }
}

void to_codes(const float *mel, size_t n_frames, int8_t *codes) {
  for (size_t t = 0; t < n_frames; t++) {
    gunshot_log_mel_codes(mel + t * GUNSHOT_N_MELS, codes + t * GUNSHOT_N_MELS);
  }
}

/* Push pieces of samples; one of negative length is a gap. Returns how many frames came. */
size_t stream(const int16_t *samples, const int32_t *pieces, size_t n_pieces, row *rows) {
  static gunshot_frames frames;
  size_t count = 0;
  memset(&frames, 0xa5, sizeof frames); /* a reset must not rely on zeros */
  gunshot_frames_reset(&frames);
  for (size_t i = 0; i < n_pieces; i++) {
    if (pieces[i] < 0) {
      gunshot_frames_reset(&frames);
    }
    for (size_t left = pieces[i] < 0 ? 0 : (size_t)pieces[i]; left > 0;) {
      bool made;
      size_t taken = gunshot_frames_push(&frames, samples, left, &made);
      samples += taken;
      left -= taken;
      if (made) {
        const int8_t *window = gunshot_frames_window(&frames);
        row *to = &rows[count++];
        memset(to, 0, sizeof *to);
        to->peak = frames.peak;
        to->ends = window != NULL;
        memcpy(to->past, gunshot_frames_past(&frames), sizeof to->past);
        if (window) {
          memcpy(to->window, window, sizeof to->window);
        }
      }
    }
  }
  return count;
}

/* Samples to rows, in pieces that get longer. */
int main(void) {
  static int16_t samples[1 << 16];
  static int32_t pieces[400];
  static row rows[1 << 10];
  size_t n = fread(samples, sizeof *samples, 1 << 16, stdin), n_pieces = 0;
  for (size_t left = n; left > 0; n_pieces++) {
    pieces[n_pieces] = (int32_t)(left < 2 * n_pieces + 1 ? left : 2 * n_pieces + 1);
    left -= (size_t)pieces[n_pieces];
  }
  return fwrite(rows, sizeof *rows, stream(samples, pieces, n_pieces, rows), stdout) == 0;
}
