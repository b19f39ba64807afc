/* The port of a PC: reads a wav in the microphone's place, and writes messages to a file, one after the other. */
#include <stdio.h>
#include <string.h>

#include "constants.h"
#include "port.h"

enum { DMA = 256, PCM = 1, EXTENSIBLE = 0xfffe, FMT_BYTES = 16 };

static FILE *wav, *out;
static gunshot_ring *ring;
static uint32_t left;   /* samples of the wav */
static uint64_t played; /* samples that the ring was given */

static uint32_t number(const uint8_t *at, size_t bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < bytes; i++) value |= (uint32_t)at[i] << 8 * i;
  return value;
}

/* Go to the chunk `id`, whose bytes number `size`; false where the file has none. */
static bool find(const char *id, uint32_t *size) {
  uint8_t head[8];
  if (fseek(wav, 12, SEEK_SET) != 0) return false;
  while (fread(head, sizeof head, 1, wav) == 1) {
    *size = number(head + 4, 4);
    if (memcmp(head, id, 4) == 0) return true;
    if (fseek(wav, (long)*size + (*size & 1), SEEK_CUR) != 0) return false;
  }
  return false;
}

static long rest_of_file(void) {
  long here = ftell(wav), end = fseek(wav, 0, SEEK_END) == 0 ? ftell(wav) : -1;
  return fseek(wav, here, SEEK_SET) == 0 ? end - here : -1;
}

/* Go to the samples; false, and why, where they are not as the model's. */
static bool open_wav(const char *path) {
  uint8_t riff[12], fmt[FMT_BYTES];
  uint32_t size;
  wav = fopen(path, "rb");
  if (wav == NULL) return fprintf(stderr, "error: %s: no such file\n", path), false;
  if (fread(riff, sizeof riff, 1, wav) != 1 || memcmp(riff, "RIFF", 4) != 0 || memcmp(riff + 8, "WAVE", 4) != 0 ||
      !find("fmt ", &size) || size < FMT_BYTES || fread(fmt, sizeof fmt, 1, wav) != 1 || !find("data", &size)) {
    return fprintf(stderr, "error: %s: must be a wav\n", path), false;
  }
  unsigned format = number(fmt, 2), channels = number(fmt + 2, 2), rate = number(fmt + 4, 4), bits = number(fmt + 14, 2);
  if ((format != PCM && format != EXTENSIBLE) || channels != 1 || rate != GUNSHOT_SR || bits != 16) {
    fprintf(stderr, "error: %s: rate=%u Hz, channels=%u, bits=%u, format=%u must be %d Hz, 1, 16, %d (PCM): convert it\n",
            path, rate, channels, bits, format, GUNSHOT_SR, PCM);
    return false;
  }
  if (rest_of_file() < (long)size) {
    return fprintf(stderr, "error: %s: header promises %u bytes of data, file holds fewer\n", path, size), false;
  }
  left = size / sizeof(int16_t);
  return true;
}

gunshot_status port_start(int argc, char **argv, gunshot_ring *to) {
  ring = to;
  if (argc != 3) return fprintf(stderr, "usage: %s FILE.wav MESSAGES\n", argc > 0 ? argv[0] : "gunshot"), GUNSHOT_IO;
  if (!open_wav(argv[1])) return GUNSHOT_IO;
  out = fopen(argv[2], "wb");
  if (out == NULL) return fprintf(stderr, "error: %s: cannot be written\n", argv[2]), GUNSHOT_IO;
  return GUNSHOT_OK;
}

/* The wav's next samples; after them, where it is shorter than a window, silence that fills it up: `gunshot detect`. */
bool port_wait(void) {
  uint8_t bytes[DMA * sizeof(int16_t)];
  int16_t samples[DMA] = {0};
  size_t n = left < DMA ? left : DMA;
  if (n == 0 && played >= GUNSHOT_CHUNK_LENGTH) return false;
  if (n > 0 && fread(bytes, sizeof(int16_t), n, wav) != n) return false;
  for (size_t i = 0; i < n; i++) samples[i] = (int16_t)number(bytes + 2 * i, 2);
  left -= (uint32_t)n;
  uint64_t lacking = played < GUNSHOT_CHUNK_LENGTH ? GUNSHOT_CHUNK_LENGTH - played : 0;
  if (n == 0) n = lacking < DMA ? (size_t)lacking : DMA;
  gunshot_ring_write(ring, samples, n);
  played += n;
  return true;
}

uint32_t port_clock_ms(void) { return (uint32_t)(played * 1000 / GUNSHOT_SR); }

uint32_t port_device(void) { return 0; }

gunshot_status port_send(const uint8_t *message, size_t size) {
  return fwrite(message, 1, size, out) == size && fflush(out) == 0 ? GUNSHOT_OK : GUNSHOT_IO;
}

int port_stop(gunshot_status status) {
  if (status != GUNSHOT_OK) fprintf(stderr, "error: status %d of status.h\n", (int)status);
  return (int)status;
}
