/* The application itself, watched: gunshot_trace FILE.wav MESSAGES CODES LOGITS [SITE] writes the int8 codes of each
 * frame and the int16 logit of each window of the detector to two files more, and says at its end what they cost. The
 * linker puts these functions between the application and its parts (--wrap), so that nothing here is a second
 * application. */
#include "constants.h"
#include "detector.h"
#include "files.h"
#include "frames.h"
#include "model.h"
#include "port.h"
#include "ticks.h"

gunshot_status __real_port_start(int argc, char **argv, gunshot_ring *ring);
bool __real_port_wait(void);
gunshot_status __real_port_send(const uint8_t *message, size_t size);
int __real_port_stop(gunshot_status status);
size_t __real_gunshot_frames_push(gunshot_frames *frames, const int16_t *samples, size_t n, bool *complete);
gunshot_status __real_gunshot_model_score(const int8_t *codes, int16_t *logit);
size_t __real_gunshot_detector_window(gunshot_detector *detector, int16_t logit, gunshot_shot *shots);

static int codes_file, logits_file;
static bool written = true;
static uint32_t frames_made, windows, resumed;
static uint64_t application, features, inference, scratch; /* ticks; of scratch: the first window's frames */

static void resume(void) { resumed = ticks_now(); }

/* Add the ticks since the last `resume` to the application's, and return them. */
static uint32_t pause(void) {
  const uint32_t passed = (ticks_now() - resumed) & 0xFFFFFF;
  application += passed;
  return passed;
}

static void say(const char *name, uint64_t value) {
  files_say(name);
  files_say("=");
  files_say_number(value);
  files_say("\n");
}

static uint64_t nanoseconds(uint64_t ticks) { return ticks * 1000 / (GUNSHOT_TICKS_HZ / 1000000); }

gunshot_status __wrap_port_start(int argc, char **argv, gunshot_ring *ring) {
  if (argc != 5 && argc != 6) {
    files_say("error: four arguments must be given: FILE.wav MESSAGES CODES LOGITS [SITE]\n");
    return GUNSHOT_IO;
  }
  codes_file = files_open(argv[3], FILES_WRITE);
  logits_file = files_open(argv[4], FILES_WRITE);
  if (codes_file < 0 || logits_file < 0) return GUNSHOT_IO;
  ticks_start();
  resume();
  char session[] = "0", *with_site[] = {argv[0], argv[1], argv[2], session, argv[5]};
  return argc == 6 ? __real_port_start(5, with_site, ring) : __real_port_start(3, argv, ring);
}

bool __wrap_port_wait(void) {
  pause();
  const bool more = __real_port_wait();
  resume();
  return more;
}

gunshot_status __wrap_port_send(const uint8_t *message, size_t size) {
  pause();
  const gunshot_status status = __real_port_send(message, size);
  resume();
  return status;
}

size_t __wrap_gunshot_frames_push(gunshot_frames *frames, const int16_t *samples, size_t n, bool *complete) {
  pause();
  resume();
  const size_t taken = __real_gunshot_frames_push(frames, samples, n, complete);
  features += pause();
  if (*complete) {
    const int8_t *codes = gunshot_frames_past(frames) + GUNSHOT_DETECTOR_PAST * GUNSHOT_N_MELS;
    written &= files_write(codes_file, codes, GUNSHOT_N_MELS);
    frames_made++;
  }
  if (frames_made <= GUNSHOT_N_FRAMES) scratch = features;
  resume();
  return taken;
}

gunshot_status __wrap_gunshot_model_score(const int8_t *codes, int16_t *logit) {
  pause();
  resume();
  const gunshot_status status = __real_gunshot_model_score(codes, logit);
  inference += pause();
  resume();
  return status;
}

size_t __wrap_gunshot_detector_window(gunshot_detector *detector, int16_t logit, gunshot_shot *shots) {
  pause();
  written &= files_write(logits_file, &logit, sizeof logit);
  windows++;
  resume();
  return __real_gunshot_detector_window(detector, logit, shots);
}

int __wrap_port_stop(gunshot_status status) {
  pause();
  if (status == GUNSHOT_OK && !(written && files_close(codes_file) && files_close(logits_file))) status = GUNSHOT_IO;
  say("frames", frames_made);
  say("windows", windows);
  say("features", nanoseconds(features));
  say("scratch", nanoseconds(scratch));
  say("inference", nanoseconds(inference));
  say("total", nanoseconds(application));
  say("stack", ticks_stack_used());
  return __real_port_stop(status);
}
