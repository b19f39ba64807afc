/* Shots in raw samples: int16, mono, 16 kHz, of the machine's byte order.
 *
 *   ffmpeg -loglevel error -i FILE -f s16le -ac 1 -ar 16000 - | build/hear */
#include <stdio.h>

#include <gunshot_listener.h>

static void heard(const gunshot_heard *incident, void *context) {
  (void)context;
  for (size_t i = 0; i < incident->onset_count; i++) {
    printf("%.4f s  incident %lu  score %.2f  %.1f dB\n", (double)incident->onsets[i] / GUNSHOT_LISTENER_RATE,
           (unsigned long)incident->incident, (double)incident->score, (double)incident->level_db);
  }
}

int main(void) {
  int16_t samples[1600];
  size_t n;
  if (!gunshot_listener_begin(heard, NULL)) {
    fputs("the model is damaged\n", stderr);
    return 1;
  }
  while ((n = fread(samples, sizeof *samples, sizeof samples / sizeof *samples, stdin)) > 0) {
    gunshot_listener_hear(samples, n);
  }
  gunshot_listener_end();
  return 0;
}
