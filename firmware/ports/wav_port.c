/* The port of a machine that reads a wav in the microphone's place, and writes messages to a file, one after the other:
 * gunshot FILE.wav MESSAGES. Its clock is the wav's. */
#include "constants.h"
#include "files.h"
#include "port.h"
#include "wav.h"

enum { BLOCK = 256 }; /* samples that come at once, as from DMA */

static gunshot_wav wav;
static gunshot_ring *ring;
static int messages;
static uint64_t played; /* samples */

gunshot_status port_start(int argc, char **argv, gunshot_ring *to) {
  ring = to;
  if (argc != 3) {
    files_say("error: two arguments must be given: FILE.wav MESSAGES\n");
    return GUNSHOT_IO;
  }
  const gunshot_status status = gunshot_wav_open(&wav, argv[1]);
  if (status != GUNSHOT_OK) return status;
  messages = files_open(argv[2], FILES_WRITE);
  if (messages >= 0) return GUNSHOT_OK;
  files_say("error: ");
  files_say(argv[2]);
  files_say(": cannot be written\n");
  return GUNSHOT_IO;
}

bool port_wait(void) {
  int16_t samples[BLOCK];
  const uint32_t n = gunshot_wav_read(&wav, samples, BLOCK);
  gunshot_ring_write(ring, samples, n);
  played += n;
  return n > 0;
}

uint32_t port_clock_ms(void) { return (uint32_t)(played * 1000 / GUNSHOT_SR); }

uint32_t port_device(void) { return 0; }

gunshot_status port_send(const uint8_t *message, size_t size) {
  return files_write(messages, message, size) ? GUNSHOT_OK : GUNSHOT_IO;
}

int port_stop(gunshot_status status) {
  if (status == GUNSHOT_OK && !files_close(messages)) status = GUNSHOT_IO;
  if (status != GUNSHOT_OK) {
    files_say("error: status ");
    files_say_number(status);
    files_say(" of status.h\n");
  }
  return (int)status;
}
