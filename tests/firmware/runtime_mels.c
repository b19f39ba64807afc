/* The port runtime's mel powers of frames, and those of src/log_mel.c, before they become codes. */
#include "log_mel.h"
#include "ports/runtime/log_mel.c"

int lanes(void) { return GUNSHOT_LANES; }

/* Of LANES frames, [LANES][N_MELS] each. */
void both(const int16_t *samples, float *in_lanes, float *plain) {
  gunshot_lanes mel[GUNSHOT_N_MELS];
  mels(samples, mel);
  for (int f = 0; f < GUNSHOT_LANES; f++) {
    for (int m = 0; m < GUNSHOT_N_MELS; m++) in_lanes[f * GUNSHOT_N_MELS + m] = mel[m][f];
    gunshot_mel(samples + f * GUNSHOT_HOP_LENGTH, plain + f * GUNSHOT_N_MELS);
  }
}

/* The codes of mel powers. */
void codes_of(const float *mel, int n, int8_t *codes) {
  know_places();
  for (int i = 0; i < n; i++) codes[i] = code(mel[i]);
}
