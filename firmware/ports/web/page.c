/* The port of a web page, and of whatever else runs WebAssembly. A page waits for nothing: there is no main. It calls
 * `begin`, hands in samples by `input` and `hear`, and calls `end`. What the application computes goes to the page at
 * once, by functions that the module imports. Its clock is the samples', as where a wav is read; its device is 0. */
#include <stdalign.h>

#include "gunshot.h"
#include "measures.h"
#include "model.h"
#include "port.h"

#define FROM_PAGE(name) __attribute__((import_module("page"), import_name(#name)))
#define FOR_PAGE(name) __attribute__((export_name(#name)))

enum {
  BLOCK = 256, /* samples that come at once, as in wav_port.c: heartbeats are due at the same ones */
  ROOM = 4096  /* of `input` */
};

/* A frame's codes, N_MELS; a window's logit, in steps, and the score, in 1/65535, of the sum that decides; bytes. */
FROM_PAGE(frame) void page_frame(const int8_t *codes);
FROM_PAGE(window) void page_window(int32_t logit, int32_t score);
FROM_PAGE(message) void page_message(const uint8_t *bytes, size_t size);

static gunshot_ring ring;
static gunshot_app app;
alignas(16) static uint8_t arena[GUNSHOT_ARENA_BYTES];
static int16_t input[ROOM];
static uint64_t played; /* samples */
static uint32_t session;

uint32_t port_clock_ms(void) { return (uint32_t)(played * 1000 / GUNSHOT_SR); }

uint32_t port_device(void) { return 0; }

uint32_t port_session(void) { return session; }

gunshot_status port_send(const uint8_t *message, size_t size) {
  page_message(message, size);
  return GUNSHOT_OK;
}

/* The linker puts these two between the application and its parts (--wrap): nothing here is a second application. */
size_t __real_gunshot_frames_push(gunshot_frames *frames, const int16_t *samples, size_t n, bool *complete);
size_t __real_gunshot_detector_window(gunshot_detector *detector, int16_t logit, gunshot_shot *shots);

size_t __wrap_gunshot_frames_push(gunshot_frames *frames, const int16_t *samples, size_t n, bool *complete) {
  const size_t taken = __real_gunshot_frames_push(frames, samples, n, complete);
  if (*complete) page_frame(gunshot_frames_past(frames) + GUNSHOT_DETECTOR_PAST * GUNSHOT_N_MELS);
  return taken;
}

size_t __wrap_gunshot_detector_window(gunshot_detector *detector, int16_t logit, gunshot_shot *shots) {
  const size_t count = __real_gunshot_detector_window(detector, logit, shots);
  int32_t sum = 0;
  for (int32_t i = 0; i < GUNSHOT_DETECTOR_WINDOWS; i++) sum += detector->recent[i];
  page_window(logit, gunshot_score(sum));
  return count;
}

/* Begin a session, at the operating point. Returns a status of status.h. */
FOR_PAGE(begin) int32_t page_begin(uint32_t number) {
  session = number;
  played = 0;
  gunshot_ring_init(&ring);
  const gunshot_status status = gunshot_init(&app, &ring, arena, sizeof arena);
  if (status == GUNSHOT_OK) gunshot_poll(&app);
  return (int32_t)status;
}

/* From now on decide by these settings of the detector, as gunshot/detect/listener.py makes them of a threshold. */
FOR_PAGE(settings) void page_settings(int32_t on, int32_t off, int32_t even) {
  app.detector.settings.on = on;
  app.detector.settings.off = off;
  app.detector.settings.even = even;
  app.counts.operating_point = gunshot_score(on);
}

/* Where `hear` takes samples from. */
FOR_PAGE(input) int16_t *page_input(void) { return input; }

/* Hear `n` samples of `input`, ROOM at most. Returns how many were heard. */
FOR_PAGE(hear) uint32_t page_hear(uint32_t n) {
  n = n < ROOM ? n : ROOM;
  for (uint32_t i = 0; i < n; i += BLOCK) {
    const uint32_t left = n - i, taken = left < BLOCK ? left : BLOCK;
    gunshot_ring_write(&ring, input + i, taken);
    played += taken;
    gunshot_poll(&app);
  }
  return n;
}

/* No sample will come. */
FOR_PAGE(end) void page_end(void) { gunshot_end(&app); }
