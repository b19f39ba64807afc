/* consumer FILE.wav ONSETS LOGITS MESSAGES: what the package tells of a wav, its onsets, u64 each; and, by the linker's
 * --wrap, what is behind them: the int16 logit of each window, and the messages that the application sends. */
#include <gunshot_listener.h>

#include "files.h"
#include "wav.h"

enum { ONSETS, LOGITS, MESSAGES, OUTPUTS, ODD = 333 /* samples at once: no block of anything */ };

static int files[OUTPUTS];
static bool written = true;

static void out(int which, const void *bytes, size_t size) { written &= files_write(files[which], bytes, size); }

gunshot_status __real_port_send(const uint8_t *bytes, size_t size);
gunshot_status __wrap_port_send(const uint8_t *bytes, size_t size);
gunshot_status __wrap_port_send(const uint8_t *bytes, size_t size) {
  out(MESSAGES, bytes, size);
  return __real_port_send(bytes, size);
}

size_t __real_gunshot_detector_window(void *detector, int16_t logit, void *shots);
size_t __wrap_gunshot_detector_window(void *detector, int16_t logit, void *shots);
size_t __wrap_gunshot_detector_window(void *detector, int16_t logit, void *shots) {
  out(LOGITS, &logit, sizeof logit);
  return __real_gunshot_detector_window(detector, logit, shots);
}

static void heard(const gunshot_heard *incident, void *context) {
  *(uint32_t *)context = incident->incident;
  out(ONSETS, incident->onsets, incident->onset_count * sizeof *incident->onsets);
}

int main(int argc, char **argv) {
  static int16_t samples[ODD];
  static gunshot_wav wav;
  uint32_t incidents = 0, n;
  if (argc != 2 + OUTPUTS || gunshot_wav_open(&wav, argv[1]) != GUNSHOT_OK) return 2;
  for (int i = 0; i < OUTPUTS; i++) {
    files[i] = files_open(argv[2 + i], FILES_WRITE);
    if (files[i] < 0) return 3;
  }
  if (!gunshot_listener_begin(heard, &incidents)) return 4;
  while ((n = gunshot_wav_read(&wav, samples, ODD)) > 0) gunshot_listener_hear(samples, n);
  gunshot_listener_end();
  for (int i = 0; i < OUTPUTS; i++) written &= files_close(files[i]);
  return written && incidents > 0 && gunshot_listener_lost() == 0 ? 0 : 5;
}
