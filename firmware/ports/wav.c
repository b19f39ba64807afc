/* RIFF: "RIFF" size "WAVE", then chunks of id, size and bytes, each padded to an even length; little-endian, as every
 * machine is that this runs on. */
#include "wav.h"

#include <string.h>

#include "constants.h"
#include "files.h"

enum { PCM = 1, EXTENSIBLE = 0xFFFE };

typedef struct {
  char id[4];
  uint32_t size;
} head;

typedef struct {
  uint16_t format, channels;
  uint32_t rate, bytes_per_s;
  uint16_t block, bits;
} format;

/* What is read, and how far. */
typedef struct {
  int file;
  size_t at;
} place;

static bool take(place *from, void *bytes, size_t size) {
  const size_t found = files_read(from->file, bytes, size);
  from->at += found;
  return found == size;
}

static bool skip(place *from, uint32_t bytes) {
  uint8_t passed[64];
  for (; bytes >= sizeof passed; bytes -= sizeof passed)
    if (!take(from, passed, sizeof passed)) return false;
  return take(from, passed, bytes);
}

/* Go to the samples, whose bytes number `size`, past what says how they are stored. */
static bool find(place *from, format *stored, uint32_t *size) {
  head chunk;
  char kind[4];
  if (!take(from, &chunk, sizeof chunk) || !take(from, kind, sizeof kind)) return false;
  if (memcmp(chunk.id, "RIFF", 4) != 0 || memcmp(kind, "WAVE", 4) != 0) return false;
  while (take(from, &chunk, sizeof chunk)) {
    *size = chunk.size;
    if (memcmp(chunk.id, "data", 4) == 0) return stored->bits > 0;
    uint32_t rest = chunk.size;
    if (memcmp(chunk.id, "fmt ", 4) == 0 && rest >= sizeof *stored) {
      if (!take(from, stored, sizeof *stored)) return false;
      rest -= sizeof *stored;
    }
    if (!skip(from, rest) || !skip(from, chunk.size & 1)) return false;
  }
  return false;
}

static void say(const char *words, uint32_t number) {
  files_say(words);
  files_say_number(number);
}

static gunshot_status refuse_format(const format *stored) {
  say("rate=", stored->rate);
  say(" Hz, channels=", stored->channels);
  say(", bits=", stored->bits);
  say(", format=", stored->format);
  say(" must be ", GUNSHOT_SR);
  files_say(" Hz, 1, 16, 1 (PCM): convert it\n");
  return GUNSHOT_IO;
}

static gunshot_status refuse(const char *why) {
  files_say(why);
  return GUNSHOT_IO;
}

static gunshot_status refuse_length(uint32_t promised) {
  say("header promises ", promised);
  return refuse(" bytes of data, file holds fewer\n");
}

static void begin(const char *path) {
  files_say("error: ");
  files_say(path);
  files_say(": ");
}

gunshot_status gunshot_wav_open(gunshot_wav *wav, const char *path) {
  format stored = {0};
  uint32_t size = 0;
  place from = {files_open(path, FILES_READ), 0};
  if (from.file < 0) return begin(path), refuse("no such file\n");
  if (!find(&from, &stored, &size)) return begin(path), refuse("must be a wav\n");
  if ((stored.format != PCM && stored.format != EXTENSIBLE) || stored.channels != 1 || stored.rate != GUNSHOT_SR ||
      stored.bits != 16) {
    return begin(path), refuse_format(&stored);
  }
  if (files_size(from.file) - from.at < size) return begin(path), refuse_length(size);
  *wav = (gunshot_wav){from.file, size / sizeof(int16_t)};
  return GUNSHOT_OK;
}

uint32_t gunshot_wav_read(gunshot_wav *wav, int16_t *samples, uint32_t n) {
  if (n > wav->left) n = wav->left;
  n = (uint32_t)(files_read(wav->file, samples, n * sizeof *samples) / sizeof *samples);
  wav->left -= n;
  return n;
}
