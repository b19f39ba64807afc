/* What a library of the port runtime gives of samples on standard input, as bytes on standard output: codes, logits and
 * shots of each block, one after the other. For machines whose Python is not there. */
#include <stdio.h>
#include <stdlib.h>

#include "runtime.h"

enum { BLOCK = 1 << 14 };

int main(void) {
  static int16_t samples[BLOCK];
  gunshot_runtime_facts facts;
  gunshot_runtime_state(&facts);
  const size_t frames = BLOCK / (size_t)facts.hop_length + 1, windows = frames / (size_t)facts.hop + 1;
  gunshot_runtime_stream *stream = malloc(facts.stream_bytes);
  gunshot_runtime_heard heard = {.codes = malloc(frames * (size_t)facts.n_mels), .logits = malloc(windows * 2)};
  heard.shots = malloc(windows * (size_t)facts.most_shots * sizeof *heard.shots);
  if (!stream || !heard.codes || !heard.logits || !heard.shots) return 1;
  if (gunshot_runtime_begin(stream, facts.on, facts.off, facts.even) != 0) return 2;
  size_t n;
  while ((n = fread(samples, sizeof *samples, BLOCK, stdin)) > 0) {
    gunshot_runtime_hear(stream, samples, n, &heard);
    fwrite(heard.codes, (size_t)facts.n_mels, heard.frames, stdout);
    fwrite(heard.logits, sizeof *heard.logits, heard.windows, stdout);
    fwrite(heard.shots, sizeof *heard.shots, heard.count, stdout);
  }
  return 0;
}
