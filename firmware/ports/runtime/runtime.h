/* What the Python package calls: front end, model and detector of src/ on samples that a program hands in. cffi reads
 * this file too, all but the lines that begin with '#': it may hold declarations alone.
 *
 * One caller at a time, whichever the stream: front end and model have scratch that streams share. */
#ifndef GUNSHOT_RUNTIME_H
#define GUNSHOT_RUNTIME_H
#include <stddef.h>
#include <stdint.h>
#endif

/* What the library was built with. Samples, frames and windows are counted from 0. */
typedef struct {
  const char *model_sha256;
  int32_t sr, n_fft, hop_length, n_mels;
  int32_t hop, windows;     /* frames from window to window; windows whose logits are summed */
  int32_t on, off, even;    /* of the operating point, as sums of logits in steps; src/detector.h */
  int32_t most_shots;       /* that a window decides */
  int32_t tail;             /* frames that `finish` adds */
  size_t stream_bytes;      /* of a gunshot_runtime_stream */
  float output_scale;       /* of a step of a logit */
} gunshot_runtime_facts;

typedef struct {
  int64_t onset;     /* sample */
  int64_t decided;   /* sample at which the window ended that decided it */
  int64_t incident;  /* from 1 on */
  int32_t logit_sum; /* in steps */
  int32_t peak;      /* the loudest sample around the onset, 0 to 32768 */
  int32_t score;     /* in 1/65535 */
  int32_t spl_db;    /* of the peak, in tenths of dB */
} gunshot_runtime_shot;

/* Where `hear` and `finish` write, from the beginning each time: n samples give n / hop_length + 1 frames at most,
 * frames / hop + 1 windows, and most_shots shots a window; `finish` adds `tail` frames. */
typedef struct {
  int8_t *codes;               /* [frames][n_mels] */
  int16_t *logits;             /* [windows], in steps */
  gunshot_runtime_shot *shots;
  size_t frames, windows, count; /* that were written */
  int32_t open;                  /* whether an incident is open */
} gunshot_runtime_heard;

typedef struct gunshot_runtime_stream gunshot_runtime_stream;

void gunshot_runtime_state(gunshot_runtime_facts *facts);
/* Begin a stream in stream_bytes, aligned to 8, at settings as of the facts. Returns a status of src/status.h. */
int32_t gunshot_runtime_begin(gunshot_runtime_stream *stream, int32_t on, int32_t off, int32_t even);
void gunshot_runtime_hear(gunshot_runtime_stream *stream, const int16_t *samples, size_t n,
                          gunshot_runtime_heard *heard);
/* The recording has ended: its last frame goes on until shots were sought in all of it, as gunshot detect hears it. One
 * without a whole frame holds nothing. */
void gunshot_runtime_finish(gunshot_runtime_stream *stream, gunshot_runtime_heard *heard);
