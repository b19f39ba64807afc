/* The port for Python: no application, which would tell incidents by messages, but the parts under it, and each shot.
 * What src/gunshot.c does with them is done here alike; tests hold the two together. */
#include "runtime.h"

#include <stdalign.h>
#include <stdbool.h>
#include <string.h>

#include "constants.h"
#include "detector.h"
#include "frames.h"
#include "lanes.h"
#include "log_mel.h"
#include "measures.h"
#include "model.h"

#define FOR_PYTHON __attribute__((visibility("default")))

enum {
  LEAD = GUNSHOT_DETECTOR_LEAD,
  LOOKED_AT = (GUNSHOT_DETECTOR_WINDOWS - 1) * GUNSHOT_DETECTOR_HOP + GUNSHOT_N_FRAMES,
  PEAKS = GUNSHOT_DETECTOR_RING, /* frames whose peaks are kept: all that the detector looks at */
  SHOTS = GUNSHOT_DETECTOR_MOST_SHOTS(LOOKED_AT),
  TAIL = GUNSHOT_N_FRAMES - 1 - GUNSHOT_DETECTOR_FIRST
};

_Static_assert((int)GUNSHOT_DETECTOR_WINDOWS <= (int)GUNSHOT_DETECTOR_MOST_WINDOWS, "detector.windows: 32 at most");

struct gunshot_runtime_stream {
  gunshot_frames frames;
  gunshot_detector detector;
  uint16_t peaks[PEAKS];
};

alignas(16) static uint8_t arena[GUNSHOT_ARENA_BYTES];
static const gunshot_runtime_stream *scored; /* the stream of the model's last window: it keeps what windows share */

/* Codes of frames that are not yet pushed; src/frames.c asks for them by the two functions of src/log_mel.h. */
static int8_t ready[GUNSHOT_LANES][GUNSHOT_N_MELS];
static int next;

void __wrap_gunshot_mel(const int16_t *samples, float *mel) {
  (void)samples;
  (void)mel;
}

void __wrap_gunshot_log_mel_codes(const float *mel, int8_t *codes) {
  (void)mel;
  memcpy(codes, ready[next++], GUNSHOT_N_MELS);
}

FOR_PYTHON void gunshot_runtime_state(gunshot_runtime_facts *facts) {
  *facts = (gunshot_runtime_facts){
      .model_sha256 = GUNSHOT_MODEL_SHA256,
      .sr = GUNSHOT_SR,
      .n_fft = GUNSHOT_N_FFT,
      .hop_length = GUNSHOT_HOP_LENGTH,
      .n_mels = GUNSHOT_N_MELS,
      .hop = GUNSHOT_DETECTOR_HOP,
      .windows = GUNSHOT_DETECTOR_WINDOWS,
      .on = GUNSHOT_DETECTOR_ON,
      .off = GUNSHOT_DETECTOR_OFF,
      .even = GUNSHOT_DETECTOR_EVEN,
      .most_shots = SHOTS,
      .tail = TAIL,
      .stream_bytes = sizeof(gunshot_runtime_stream),
      .output_scale = GUNSHOT_OUTPUT_SCALE,
  };
}

FOR_PYTHON int32_t gunshot_runtime_begin(gunshot_runtime_stream *stream, int32_t on, int32_t off, int32_t even) {
  const gunshot_detector_settings settings = {
      .on = on,
      .off = off,
      .even = even,
      .windows = GUNSHOT_DETECTOR_WINDOWS,
      .hop = GUNSHOT_DETECTOR_HOP,
      .n_frames = GUNSHOT_N_FRAMES,
      .first = GUNSHOT_DETECTOR_FIRST,
      .stop = GUNSHOT_DETECTOR_STOP,
      .cooldown = GUNSHOT_DETECTOR_COOLDOWN,
      .min_rise = GUNSHOT_DETECTOR_MIN_RISE,
      .lead = LEAD,
  };
  memset(stream, 0, sizeof *stream);
  gunshot_frames_reset(&stream->frames);
  gunshot_detector_init(&stream->detector, &settings);
  scored = NULL;
  return (int32_t)gunshot_model_init(gunshot_model_artifact, arena, sizeof arena);
}

/* The sample at which a frame of the detector begins; it counts the lead. */
static int64_t begins(int64_t frame) { return (frame - LEAD) * GUNSHOT_HOP_LENGTH; }

/* Of the samples that the frames around an onset were first to hold, the loudest. */
static int32_t peak_around(const gunshot_runtime_stream *stream, int64_t onset) {
  int64_t t = onset - GUNSHOT_DETECTOR_PAST < LEAD ? LEAD : onset - GUNSHOT_DETECTOR_PAST;
  int32_t most = 0;
  for (; t < onset + GUNSHOT_DETECTOR_LOCAL; t++) {
    const int32_t peak = stream->peaks[t % PEAKS];
    most = peak > most ? peak : most;
  }
  return most;
}

static gunshot_runtime_shot described(const gunshot_runtime_stream *stream, const gunshot_shot *shot) {
  const int32_t sixteenths = shot->lean * GUNSHOT_HOP_LENGTH + shot->rise * GUNSHOT_ONSET_LATER;
  const int32_t within = GUNSHOT_ONSET_START + sixteenths / GUNSHOT_DETECTOR_SIXTEENTHS;
  const int32_t peak = peak_around(stream, shot->onset);
  return (gunshot_runtime_shot){
      .onset = begins(shot->onset) + within,
      .decided = begins(shot->decided * GUNSHOT_DETECTOR_HOP + GUNSHOT_N_FRAMES - 1) + GUNSHOT_N_FFT,
      .incident = shot->incident,
      .logit_sum = shot->logit_sum,
      .peak = peak,
      .score = gunshot_score(shot->logit_sum),
      .spl_db = gunshot_spl_db((uint64_t)peak * (uint64_t)peak, 1),
  };
}

/* A frame was made: where it ends a window, the window's logit and the shots that this decides. */
static void decide(gunshot_runtime_stream *stream, uint16_t peak, const int16_t *rise, gunshot_runtime_heard *heard) {
  stream->peaks[stream->detector.frames % PEAKS] = peak;
  gunshot_detector_frame(&stream->detector, rise);
  const int8_t *codes = gunshot_frames_window(&stream->frames);
  if (codes == NULL) return;
  int16_t logit;
  if (scored != stream) gunshot_model_reset(); /* what it keeps is another stream's, and is computed anew */
  scored = stream;
  if (gunshot_model_score(codes, &logit) != GUNSHOT_OK) return; /* no Init succeeded, which `begin` told */
  if (stream->detector.frames < GUNSHOT_N_FRAMES) return;
  gunshot_shot shots[SHOTS];
  const size_t count = gunshot_detector_window(&stream->detector, logit, shots);
  heard->logits[heard->windows++] = logit;
  for (size_t i = 0; i < count; i++) heard->shots[heard->count++] = described(stream, &shots[i]);
}

static void nothing(gunshot_runtime_heard *heard) { heard->frames = heard->windows = heard->count = 0; }

/* Make the codes of the frames that `n` more samples complete, LANES at most, and take the samples. */
static void take(gunshot_runtime_stream *stream, const int16_t *samples, size_t n, gunshot_runtime_heard *heard) {
  static int16_t waiting[GUNSHOT_LANES_SAMPLES];
  gunshot_frames *frames = &stream->frames;
  if (frames->held + n >= GUNSHOT_N_FFT) {
    memcpy(waiting, frames->samples, frames->held * sizeof *waiting);
    memcpy(waiting + frames->held, samples, n * sizeof *waiting);
    gunshot_lanes_codes(waiting, ready); /* lanes beyond hold what is left there, and are not read */
  }
  next = 0;
  bool complete;
  for (size_t i = 0; i < n;) {
    i += gunshot_frames_push(frames, samples + i, n - i, &complete);
    if (!complete) continue;
    int16_t rise[GUNSHOT_DETECTOR_GROUPS];
    const int8_t *past = gunshot_frames_past(frames);
    const int8_t *codes = past + GUNSHOT_DETECTOR_PAST * GUNSHOT_N_MELS;
    memcpy(heard->codes + heard->frames++ * GUNSHOT_N_MELS, codes, GUNSHOT_N_MELS);
    gunshot_lanes_rise(past, rise);
    decide(stream, frames->peak, rise, heard);
  }
}

FOR_PYTHON void gunshot_runtime_hear(gunshot_runtime_stream *stream, const int16_t *samples, size_t n,
                                     gunshot_runtime_heard *heard) {
  nothing(heard);
  while (n > 0) {
    const size_t room = GUNSHOT_LANES_SAMPLES - stream->frames.held, part = n < room ? n : room;
    take(stream, samples, part, heard);
    samples += part;
    n -= part;
  }
  heard->open = stream->detector.open;
}

FOR_PYTHON void gunshot_runtime_finish(gunshot_runtime_stream *stream, gunshot_runtime_heard *heard) {
  static const int16_t rise[GUNSHOT_DETECTOR_GROUPS]; /* a frame like the one before does not rise */
  gunshot_frames *frames = &stream->frames;
  nothing(heard);
  for (int i = 0; frames->rows > 0 && i < TAIL; i++) {
    int16_t again[GUNSHOT_N_FFT];
    bool complete;
    memcpy(ready[0], frames->codes[frames->rows - 1], GUNSHOT_N_MELS);
    next = 0;
    memset(again, 0, sizeof again); /* their codes are ready */
    gunshot_frames_push(frames, again, GUNSHOT_N_FFT - frames->held, &complete);
    decide(stream, 0, rise, heard);
  }
  heard->open = stream->detector.open;
}
