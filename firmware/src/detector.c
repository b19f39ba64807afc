#include "detector.h"

#include <string.h>

enum {
  PAST = GUNSHOT_DETECTOR_PAST,
  SHARE = GUNSHOT_DETECTOR_SHARE,
  MOST_RISES = GUNSHOT_DETECTOR_MOST_RISES,
  LOCAL = GUNSHOT_DETECTOR_LOCAL,
  GROUPS = GUNSHOT_DETECTOR_GROUPS,
  SPAN = GUNSHOT_DETECTOR_SPAN,
  FASTEST = GUNSHOT_DETECTOR_FASTEST,
  SLOWEST = GUNSHOT_DETECTOR_SLOWEST,
  NEAR = GUNSHOT_DETECTOR_NEAR,
  SIXTEENTHS = GUNSHOT_DETECTOR_SIXTEENTHS,
  MOST_RISE = GUNSHOT_DETECTOR_MOST_RISE
};

_Static_assert((int)SPAN <= (int)GUNSHOT_DETECTOR_PARTS, "parts must hold a span");
_Static_assert(MOST_RISE * SIXTEENTHS <= UINT8_MAX, "a shot's rise must fit 8 bits");
_Static_assert(PAST * 255 * ((GUNSHOT_N_MELS + GROUPS - 1) / GROUPS) <= INT16_MAX, "a group's rise must fit 16 bits");

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
  detector->frames = detector->next = settings->lead;
}

void gunshot_detector_rise(const int8_t *codes, int16_t *rise) {
  const int8_t *frame = codes + PAST * GUNSHOT_N_MELS;
  memset(rise, 0, GROUPS * sizeof *rise);
  for (size_t band = 0; band < GUNSHOT_N_MELS; band++) {
    int32_t above = PAST * frame[band];
    for (size_t i = 0; i < PAST; i++) above -= codes[i * GUNSHOT_N_MELS + band];
    if (above > 0) rise[band * GROUPS / GUNSHOT_N_MELS] += (int16_t)above;
  }
}

void gunshot_detector_frame(gunshot_detector *detector, const int16_t *rise) {
  uint64_t t = (uint64_t)detector->frames++;
  int32_t sum = 0;
  for (size_t group = 0; group < GROUPS; group++) sum += rise[group];
  detector->rises[t % GUNSHOT_DETECTOR_RING] = sum;
  memcpy(detector->parts[t % GUNSHOT_DETECTOR_PARTS], rise, sizeof detector->parts[0]);
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
  int64_t least = larger(min_rise, smaller(steepest, MOST_RISES * min_rise) / SHARE);
  size_t count = 0;
  for (int64_t t = start; t < stop; t++) {
    if (rise_at(detector, t) >= least && t - detector->last >= LOCAL && is_peak(detector, t)) {
      shots[count++].onset = detector->last = t;
    }
  }
  detector->next = larger(start, stop);
  if (opens && count == 0) { /* each incident has an onset, which is reported at once */
    shots[count++].onset = detector->last = best;
  }
  return count;
}

/* Rises from frame `begin` on, at most `most`, less their mean; of one group of bands, or of all where it is GROUPS. */
static void centred(const gunshot_detector *detector, int64_t begin, size_t group, int32_t most, int32_t *z) {
  int32_t sum = 0;
  for (int32_t i = 0; i < SPAN; i++) {
    int64_t t = begin + i;
    int32_t rise =
        group == GROUPS ? rise_at(detector, t) : detector->parts[(uint64_t)t % GUNSHOT_DETECTOR_PARTS][group];
    sum += z[i] = rise < most ? rise : most;
  }
  for (int32_t i = 0; i < SPAN; i++) z[i] -= sum / SPAN;
}

/* The autocorrelation of `z` at a lag. */
static int64_t recurs(const int32_t *z, int32_t lag) {
  int64_t sum = 0;
  for (int32_t i = lag; i < SPAN; i++) sum += (int64_t)z[i] * z[i - lag];
  return sum;
}

/* The frames from shot to shot of steady fire, or 0: the lag of the highest autocorrelation, if that is a quarter of
 * the energy at least, and the autocorrelation at twice the lag a sixth: two shots are no rate. */
static int32_t cadence(const gunshot_detector *detector, int64_t begin, int32_t most) {
  int32_t z[SPAN], lag = 0;
  int64_t after[2 * SLOWEST + 2] = {0}, best = 0;
  for (size_t group = 0; group < GROUPS; group++) {
    centred(detector, begin, group, most / GROUPS, z);
    for (int32_t k = 0; k < 2 * SLOWEST + 2; k += k == 0 ? FASTEST - 1 : 1) after[k] += recurs(z, k);
  }
  for (int32_t k = FASTEST; k <= SLOWEST; k++) {
    if (after[k] > best && after[k] >= after[k - 1] && after[k] >= after[k + 1]) best = after[lag = k];
  }
  if (lag == 0 || 4 * best < after[0]) return 0;
  int64_t again = larger(after[2 * lag], larger(after[2 * lag - 1], after[2 * lag + 1]));
  return 6 * again >= after[0] ? lag : 0;
}

/* The frames, before `stop`, of shots that follow the last one at a steady rate, sought in the last SPAN frames. */
static size_t steady(gunshot_detector *detector, int64_t stop, gunshot_shot *shots) {
  int32_t z[SPAN], most = detector->settings.min_rise / 2;
  int64_t begin = detector->frames - SPAN;
  if (detector->last + SLOWEST < begin + NEAR || detector->last + FASTEST + NEAR >= stop) return 0; /* out of sight */
  int64_t lag = cadence(detector, begin, most), next = detector->last + lag;
  centred(detector, begin, GROUPS, most, z);
  int64_t energy = recurs(z, 0), last = detector->last >= begin ? z[detector->last - begin] : 0;
  size_t count = 0;
  while (lag > 0 && begin + NEAR <= next && next + NEAR < stop) {
    int64_t best = next - NEAR;
    for (int64_t t = best; t <= next + NEAR; t++) {
      if (rise_at(detector, t) > rise_at(detector, best)) best = t;
    }
    int64_t height = z[best - begin];
    /* Half a standard deviation, and two thirds of what the last one stood out by. */
    if (height <= 0 || 4 * SPAN * height * height < energy || 3 * height < 2 * last) break;
    shots[count++].onset = detector->last = best;
    last = height;
    next = best + lag;
  }
  detector->next = larger(detector->next, detector->last + 1); /* no shot is reported twice */
  return count;
}

/* How far a shot's frame rises, and to which side the parabola through its rise and its neighbours' leans. */
static void describe(const gunshot_detector *detector, gunshot_shot *shot) {
  int64_t t = shot->onset, rise = rise_at(detector, t);
  int64_t before = rise_at(detector, t - 1), after = rise_at(detector, t + 1), bend = 2 * (2 * rise - before - after);
  int64_t lean = bend > 0 ? larger(0, SIXTEENTHS * (after - before) + SIXTEENTHS / 2 * bend) / bend : SIXTEENTHS / 2;
  shot->lean = (uint8_t)smaller(SIXTEENTHS, lean);
  shot->rise = (uint8_t)smaller(MOST_RISE * SIXTEENTHS, SIXTEENTHS * rise / detector->settings.min_rise);
}

/* The sum of the last windows' logits; the first window stands for those that are missing. */
static int32_t sum_logits(gunshot_detector *detector, int16_t logit) {
  int32_t windows = detector->settings.windows, sum = 0;
  for (int32_t i = 0; detector->windows == 0 && i < windows; i++) detector->recent[i] = logit;
  detector->recent[detector->windows % windows] = logit;
  for (int32_t i = 0; i < windows; i++) sum += detector->recent[i];
  return sum;
}

size_t gunshot_detector_window(gunshot_detector *detector, int16_t logit, gunshot_shot *shots) {
  const gunshot_detector_settings *s = &detector->settings;
  int32_t sum = sum_logits(detector, logit);
  int64_t w = detector->windows++;
  bool opens = !detector->open && sum >= s->on;
  if (opens) {
    detector->open = true;
    detector->steepest = 0;
    detector->incident++;
  }
  if (!detector->open) return 0;
  int64_t since = larger(0, w - s->windows + 1) * s->hop; /* frames that none of these windows holds are not searched */
  int64_t stop = w * s->hop + s->stop;
  size_t count = sum >= s->off ? seek(detector, since + s->first, stop, opens, shots) : 0;
  if (sum >= s->even) count += steady(detector, stop, shots + count);
  detector->quiet = sum >= s->off || count > 0 ? 0 : detector->quiet + 1;
  detector->open = detector->quiet <= s->cooldown;
  for (size_t i = 0; i < count; i++) {
    shots[i].decided = w;
    shots[i].logit_sum = sum;
    shots[i].incident = detector->incident;
    describe(detector, &shots[i]);
  }
  return count;
}
