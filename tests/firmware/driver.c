/* The firmware's parts behind a pipe, under sanitizers: requests of a letter, a length and bytes; answers of a length
 * and bytes. It is a port as well, whose ring, clock and failures the test holds; and a model that Python can follow. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "detector.h"
#include "gunshot.h"
#include "jump.h"
#include "measures.h"
#include "port.h"

static uint8_t arena[GUNSHOT_ARENA_BYTES];
static gunshot_ring ring;
static gunshot_app app;
static uint8_t *answer;
static size_t answered;
static uint32_t clock_ms;
static bool send_fails;

static void put(const void *bytes, size_t size) {
  answer = realloc(answer, answered + size + 1);
  memcpy(answer + answered, bytes, size);
  answered += size;
}

uint32_t port_clock_ms(void) { return clock_ms; }
uint32_t port_device(void) { return 0xfeedbeef; }
uint32_t port_session(void) { return 0xc0ffee; }
gunshot_status port_send(const uint8_t *message, size_t size) {
  if (!send_fails) put(message, size);
  return send_fails ? GUNSHOT_IO : GUNSHOT_OK;
}

/* settings, then windows so far, then how many logits, the logits, and the rises that they need */
static void detect(const uint8_t *in, size_t size) {
  gunshot_detector detector;
  gunshot_detector_settings s;
  int64_t far;
  int32_t count;
  memcpy(&s, in, sizeof s), in += sizeof s;
  memcpy(&far, in, sizeof far), in += sizeof far;
  memcpy(&count, in, sizeof count), in += sizeof count;
  const uint8_t *logits = in, *rises = in + 2 * count, *end = in - sizeof s - sizeof far - sizeof count + size;
  gunshot_detector_init(&detector, &s);
  detector.windows = far, detector.frames = far * s.hop, detector.next += far * s.hop, detector.last += far * s.hop;
  size_t room = (size_t)GUNSHOT_DETECTOR_MOST_SHOTS((s.windows - 1) * s.hop + s.n_frames);
  gunshot_shot *shots = malloc(room * sizeof *shots);
  for (int32_t i = 0; i < count; i++) {
    int16_t logit;
    memcpy(&logit, logits + 2 * i, sizeof logit);
    int16_t rise[GUNSHOT_DETECTOR_GROUPS];
    for (; detector.frames < (far + i) * s.hop + s.n_frames && rises < end; rises += sizeof rise) {
      memcpy(rise, rises, sizeof rise);
      gunshot_detector_frame(&detector, rise);
    }
    size_t found = gunshot_detector_window(&detector, logit, shots);
    for (size_t k = 0; k < found; k++) {
      int64_t row[] = {shots[k].onset,    shots[k].decided, shots[k].logit_sum,
                       shots[k].incident, shots[k].lean,    shots[k].rise};
      put(row, sizeof row);
    }
  }
  free(shots);
}

/* Decode, and, where that is well, encode again what is known of it, to a buffer of just its size; one byte less must
 * be refused. */
static void message(const uint8_t *in, size_t size) {
  gunshot_message decoded;
  int32_t status = gunshot_message_decode(in, size, &decoded);
  put(&status, sizeof status);
  if (status != GUNSHOT_OK) return;
  size_t known = 0, written = 0, refused = 0;
  if (gunshot_message_encode(&decoded, NULL, 0, &known) != GUNSHOT_SPACE || known > size) abort();
  uint8_t *room = malloc(known), *less = malloc(known - 1);
  if (gunshot_message_encode(&decoded, room, known, &written) != GUNSHOT_OK || written != known) abort();
  if (gunshot_message_encode(&decoded, less, known - 1, &refused) != GUNSHOT_SPACE || refused != known) abort();
  put(room, known);
  free(room), free(less);
}

/* Of sums of logits, or of sums of squares and their counts */
static void measure(const uint8_t *in, size_t size, char of) {
  int64_t row[2];
  for (size_t i = 0; i < size; i += sizeof row) {
    memcpy(row, in + i, sizeof row);
    int32_t value = of == 's' ? gunshot_score((int32_t)row[0]) : gunshot_spl_db((uint64_t)row[0], (uint64_t)row[1]);
    put(&value, sizeof value);
  }
}

/* The clock, which of model and send fail, whether to poll after, and samples as the microphone's interrupt has them */
static void hear(const uint8_t *in, size_t size) {
  memcpy(&clock_ms, in, sizeof clock_ms);
  jump_fails = in[4], send_fails = in[5];
  size_t n = (size - 7) / 2;
  int16_t *samples = malloc(2 * n + 1);
  memcpy(samples, in + 7, 2 * n);
  gunshot_ring_write(&ring, samples, n);
  free(samples);
  if (in[6]) gunshot_poll(&app);
}

static void serve(char letter, const uint8_t *in, size_t size) {
  int16_t rise[GUNSHOT_DETECTOR_GROUPS];
  switch (letter) {
    case 'd': detect(in, size); break;
    case 'm': message(in, size); break;
    case 's':
    case 'l': measure(in, size, letter); break;
    case 'r': gunshot_detector_rise((const int8_t *)in, rise), put(rise, sizeof rise); break;
    case 'a':
      gunshot_ring_init(&ring);
      memset(&app, 0xa5, sizeof app);
      if (gunshot_init(&app, &ring, arena, sizeof arena) != GUNSHOT_OK) abort();
      break;
    case 'h': hear(in, size); break;
    case 'b': gunshot_beat(&app); break;
    case 'e': gunshot_end(&app); break;
    default: abort();
  }
}

int main(void) {
  char letter;
  uint32_t size;
  while (fread(&letter, 1, 1, stdin) == 1 && fread(&size, sizeof size, 1, stdin) == 1) {
    uint8_t *in = malloc(size ? size : 1); /* just as large as it is, so that a byte beyond is found */
    if (fread(in, 1, size, stdin) != size) return 1;
    answered = 0;
    serve(letter, in, size);
    free(in);
    uint32_t length = (uint32_t)answered;
    fwrite(&length, sizeof length, 1, stdout);
    if (answered) fwrite(answer, 1, answered, stdout);
    fflush(stdout);
  }
  free(answer);
  return 0;
}
