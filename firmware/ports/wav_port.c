/* The port of a machine that reads a wav in the microphone's place, and writes messages to a file, one after the other:
 * gunshot FILE.wav MESSAGES [SESSION [SITE]]. Its clock is the wav's, and its session is 0 unless it is given. SITE has
 * what gunshot/site/verifier.py packs. On an emulated board MESSAGES may be `uart`, its serial line. One that takes
 * images has more: semihosting/flash.c. */
#include "constants.h"
#include "files.h"
#include "port.h"
#include "site.h"
#include "wav.h"

static gunshot_wav wav;
static gunshot_ring *ring;
static int messages;
static uint64_t played; /* samples */
static uint32_t session;

static gunshot_status refuse(const char *what, const char *why) {
  files_say("error: ");
  files_say(what);
  files_say(why);
  return GUNSHOT_IO;
}

static bool read_session(const char *digits) {
  uint64_t number = 0;
  const char *next = digits;
  for (; *next >= '0' && *next <= '9' && number <= UINT32_MAX; next++) number = 10 * number + (uint64_t)(*next - '0');
  session = (uint32_t)number;
  return next > digits && *next == '\0' && number <= UINT32_MAX;
}

/* A device that cannot use its site's profile runs without it, and says so. */
static void use_site(const char *path) {
  uint8_t bytes[GUNSHOT_SITE_MOST_BYTES + 1];
  const int file = files_open(path, FILES_READ);
  const size_t size = file < 0 ? 0 : files_read(file, bytes, sizeof bytes);
  if (gunshot_site_use(bytes, size, GUNSHOT_MODEL_VERSION) == GUNSHOT_OK) return;
  files_say("warning: ");
  files_say(path);
  files_say(": no site verifier of this model; the operating point decides\n");
}

gunshot_status port_start(int argc, char **argv, gunshot_ring *to) {
  ring = to;
  if (argc < 3 || argc > 5) return refuse("", "arguments must be FILE.wav MESSAGES [SESSION [SITE]]\n");
  if (argc == 5) use_site(argv[4]);
  if (argc >= 4 && !read_session(argv[3])) return refuse(argv[3], ": a session must be a number below 2^32\n");
  const gunshot_status status = gunshot_wav_open(&wav, argv[1]);
  if (status != GUNSHOT_OK) return status;
  messages = files_open(argv[2], FILES_WRITE);
  return messages >= 0 ? GUNSHOT_OK : refuse(argv[2], ": cannot be written\n");
}

bool port_wait(void) {
  int16_t samples[GUNSHOT_WAV_BLOCK];
  const uint32_t n = gunshot_wav_read(&wav, samples, GUNSHOT_WAV_BLOCK);
  gunshot_ring_write(ring, samples, n);
  played += n;
  return n > 0;
}

uint32_t port_clock_ms(void) { return (uint32_t)(played * 1000 / GUNSHOT_SR); }

uint32_t port_device(void) { return 0; }

uint32_t port_session(void) { return session; }

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
