#include "detector.h"

#include <string.h>

#include "constants.h"

enum {
  PAST = GUNSHOT_DETECTOR_PAST,
  SHARE = GUNSHOT_DETECTOR_SHARE,
  MOST = GUNSHOT_DETECTOR_MOST,
  LOCAL = GUNSHOT_DETECTOR_LOCAL
};

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Frames before the first did not rise; their places in the ring hold zeros until they are needed. */
static int32_t rise_at(const gunshot_detector *detector, int64_t t) {
  return detector->rises[(uint64_t)t % GUNSHOT_DETECTOR_RING];
}

void gunshot_detector_init(gunshot_detector *detector, const gunshot_detector_settings *settings) {
  memset(detector, 0, sizeof *detector);
  detector->settings = *settings;
  detector->last = -LOCAL;
}

int32_t gunshot_detector_rise(const int8_t *codes) {
  const int8_t *frame = codes + PAST * GUNSHOT_N_MELS;
  int32_t sum = 0;
  for (size_t band = 0; band < GUNSHOT_N_MELS; band++) {
    int32_t above = PAST * frame[band];
    for (size_t i = 0; i < PAST; i++) above -= codes[i * GUNSHOT_N_MELS + band];
    if (above > 0) sum += above;
  }
  return sum;
}

void gunshot_detector_frame(gunshot_detector *detector, int32_t rise) {
  detector->rises[(uint64_t)detector->frames++ % GUNSHOT_DETECTOR_RING] = rise;
}

/* Whether frame `t` is the first of the highest among the LOCAL - 1 frames on either side. */
static bool is_peak(const gunshot_detector *detector, int64_t t) {
  int32_t rise = rise_at(detector, t);
  for (int64_t i = 1; i < LOCAL; i++) {
    if (rise_at(detector, t - i) >= rise || rise_at(detector, t + i) > rise) return false;
  }
  return true;
}

/* The frames of the shots that a window decides, among frames from `first` to before `stop`, as onsets. */
static size_t seek(gunshot_detector *detector, int64_t first, int64_t stop, bool opens, gunshot_shot *shots) {
  int64_t start = larger(detector->next, first), steepest = detector->steepest, best = start;
  for (int64_t t = start; t < stop; t++) {
    steepest = larger(steepest, rise_at(detector, t));
    if (rise_at(detector, t) > rise_at(detector, best)) best = t;
  }
  detector->steepest = (int32_t)steepest;
  int64_t min_rise = detector->settings.min_rise;
  int64_t least = larger(min_rise, smaller(steepest, MOST * min_rise) / SHARE);
  size_t count = 0;
  for (int64_t t = start; t < stop; t++) {
    if (rise_at(detector, t) >= least && t - detector->last >= LOCAL && is_peak(detector, t)) {
      shots[count++].onset = detector->last = t;
    }
  }
  detector->next = larger(start, stop);
  if (opens && count == 0) { /* an incident has one onset at least, and it is told at once */
    shots[count++].onset = detector->last = best;
  }
  return count;
}

/* The sum of the last windows' levels; the first window stands for those that are missing. */
static int32_t sum_levels(gunshot_detector *detector, int16_t level) {
  int32_t windows = detector->settings.windows, sum = 0;
  for (int32_t i = 0; detector->windows == 0 && i < windows; i++) detector->recent[i] = level;
  detector->recent[detector->windows % windows] = level;
  for (int32_t i = 0; i < windows; i++) sum += detector->recent[i];
  return sum;
}

size_t gunshot_detector_window(gunshot_detector *detector, int16_t level, gunshot_shot *shots) {
  const gunshot_detector_settings *s = &detector->settings;
  int32_t sum = sum_levels(detector, level);
  int64_t w = detector->windows++;
  bool opens = !detector->open && sum >= s->on;
  if (opens) {
    detector->open = true;
    detector->steepest = 0;
    detector->incident++;
  }
  if (!detector->open) return 0;
  if (sum < s->off) {
    detector->open = ++detector->quiet <= s->cooldown;
    return 0;
  }
  detector->quiet = 0;
  int64_t since = larger(0, w - s->windows + 1) * s->hop; /* frames that none of these windows holds are not searched */
  size_t count = seek(detector, since + s->first, w * s->hop + s->stop, opens, shots);
  for (size_t i = 0; i < count; i++) {
    shots[i].decided = w;
    shots[i].level = sum;
    shots[i].incident = detector->incident;
  }
  return count;
}
