#include "gunshot.h"

#include <string.h>

#include "measures.h"
#include "model.h"
#include "port.h"
#include "site.h"

enum {
  PIECE = 128,              /* samples that are taken from the ring at once */
  CATCH_UP = 8,             /* pieces of kept samples that are heard for one from the ring, at most */
  FULL_SCALE = INT16_MAX,   /* and beyond, INT16_MIN */
  NO_SHOT = -INT16_MAX,     /* logit of a window that the model did not score */
  SHOTS = GUNSHOT_DETECTOR_MOST_SHOTS(GUNSHOT_LOOKED_AT),
  MESSAGE_INTERVAL = GUNSHOT_SR /* samples from one message of an incident to the next, at least, but for its last */
};

_Static_assert((int)GUNSHOT_DETECTOR_WINDOWS <= (int)GUNSHOT_DETECTOR_MOST_WINDOWS, "detector.windows: 32 at most");
_Static_assert(GUNSHOT_PEAKS + GUNSHOT_DETECTOR_LOCAL <= GUNSHOT_DETECTOR_RING, "windows must fit the detector's ring");

static const gunshot_detector_settings SETTINGS = {
    .on = GUNSHOT_DETECTOR_ON,
    .off = GUNSHOT_DETECTOR_OFF,
    .even = GUNSHOT_DETECTOR_EVEN,
    .windows = GUNSHOT_DETECTOR_WINDOWS,
    .hop = GUNSHOT_DETECTOR_HOP,
    .n_frames = GUNSHOT_N_FRAMES,
    .first = GUNSHOT_DETECTOR_FIRST,
    .stop = GUNSHOT_DETECTOR_STOP,
    .cooldown = GUNSHOT_DETECTOR_COOLDOWN,
    .min_rise = GUNSHOT_DETECTOR_MIN_RISE,
    .lead = GUNSHOT_DETECTOR_LEAD,
};

/* The microphone's sample at which a frame of the detector begins; it counts the lead. */
static uint64_t begins(const gunshot_app *app, int64_t frame) {
  return app->begun + (uint64_t)(frame - GUNSHOT_DETECTOR_LEAD) * GUNSHOT_HOP_LENGTH;
}

/* The microphone's sample at which a window of the detector ends. */
static uint64_t ends(const gunshot_app *app, int64_t window) {
  return begins(app, window * GUNSHOT_DETECTOR_HOP + GUNSHOT_N_FRAMES - 1) + GUNSHOT_N_FFT;
}

static void count_dropped(gunshot_app *app) {
  uint32_t dropped = app->ring->dropped;
  app->counts.dropped += (uint32_t)(dropped - app->dropped);
  app->dropped = dropped;
}

/* Whether the port took it. */
static bool send(gunshot_app *app, gunshot_message *message, uint8_t *bytes, size_t room) {
  size_t size;
  message->device = port_device();
  message->session = port_session();
  message->sequence = app->sequence++;
  gunshot_status status = gunshot_message_encode(message, bytes, room, &size);
  if (status == GUNSHOT_OK) status = port_send(bytes, size);
  if (status != GUNSHOT_OK) app->counts.unsent++;
  return status == GUNSHOT_OK;
}

void gunshot_beat(gunshot_app *app) {
  uint8_t bytes[GUNSHOT_HEARTBEAT_BYTES]; /* of its own: a log-mel may wait in the application's */
  count_dropped(app);
  app->counts.noise = gunshot_spl_db(app->squares, app->squared);
  app->squares = app->squared = 0;
  app->beat_ms = app->counts.uptime_ms + GUNSHOT_HEARTBEAT_MS;
  gunshot_message message = {.kind = GUNSHOT_HEARTBEAT, .heartbeat = app->counts};
  (void)send(app, &message, bytes, sizeof bytes);
}

/* The clock is for heartbeats alone: when shots fell is counted in samples. */
static void tick(gunshot_app *app) {
  uint32_t now = port_clock_ms(), passed = now - app->clock_ms;
  bool backward = passed > INT32_MAX;
  app->clock_ms = now;
  app->counts.backward += backward;
  app->counts.uptime_ms += backward ? 0 : passed;
  if (app->counts.uptime_ms >= app->beat_ms) gunshot_beat(app);
}

/* Of the samples that the frames around an onset were first to hold, the loudest; gunshot/detect/listener.py. */
static int32_t peak_around(const gunshot_app *app, int64_t onset) {
  int32_t most = 0;
  int64_t t = onset - GUNSHOT_DETECTOR_PAST;
  if (t < GUNSHOT_DETECTOR_LEAD) t = GUNSHOT_DETECTOR_LEAD;
  for (; t < onset + GUNSHOT_DETECTOR_LOCAL; t++) {
    int32_t peak = app->peaks[t % GUNSHOT_PEAKS];
    most = peak > most ? peak : most;
  }
  return most;
}

/* The sample of its frame at which a shot began; gunshot/detect/onset.py. */
static uint64_t within_frame(const gunshot_shot *shot) {
  int32_t sixteenths = shot->lean * GUNSHOT_HOP_LENGTH + shot->rise * GUNSHOT_ONSET_LATER;
  return (uint64_t)(GUNSHOT_ONSET_START + sixteenths / GUNSHOT_DETECTOR_SIXTEENTHS);
}

/* Take a shot into the incident, which it opens where none is. */
static void count_shot(gunshot_app *app, const gunshot_shot *shot, const int8_t *codes) {
  gunshot_incident *incident = &app->incident;
  const uint64_t onset = begins(app, shot->onset) + within_frame(shot), peak = (uint64_t)peak_around(app, shot->onset);
  const uint16_t score = gunshot_score(shot->logit_sum);
  const int16_t spl_db = gunshot_spl_db(peak * peak, 1);
  const bool first = incident->state == 0;
  if (first) {
    *incident = (gunshot_incident){.incident = ++app->incidents,
                                   .state = GUNSHOT_OPENED,
                                   .onset = onset,
                                   .model = GUNSHOT_MODEL_VERSION,
                                   .frames = GUNSHOT_N_FRAMES,
                                   .bands = GUNSHOT_N_MELS};
    app->waiting = 0;
    app->last_message = ends(app, shot->decided) - MESSAGE_INTERVAL; /* so that it is told at once */
  }
  if (first || score > incident->score) {
    incident->score = score;
    memcpy(app->message + GUNSHOT_LOG_MEL_AT, codes, GUNSHOT_N_FRAMES * GUNSHOT_N_MELS);
    app->evidence = true;
  }
  if (first || spl_db > incident->spl_db) incident->spl_db = spl_db;
  incident->decided = ends(app, shot->decided);
  incident->shots += incident->shots < UINT16_MAX;
  if (app->waiting < GUNSHOT_DETECTOR_MOST_ONSETS) app->onsets[app->waiting++] = onset;
}

/* Send what is not yet told of the incident; what the port does not take waits for the next message. */
static void tell(gunshot_app *app, gunshot_state state) {
  gunshot_message message = {.kind = GUNSHOT_INCIDENT, .incident = app->incident};
  message.incident.state = (uint8_t)state;
  if (app->evidence) message.incident.log_mel = (const int8_t *)app->message + GUNSHOT_LOG_MEL_AT;
  message.incident.onsets = app->onsets;
  message.incident.onset_count = app->waiting;
  if (!send(app, &message, app->message, sizeof app->message)) return;
  app->counts.alerts++;
  app->incident.state = GUNSHOT_UPDATED;
  app->waiting = 0;
  app->evidence = false;
}

static void close_incident(gunshot_app *app) {
  if (app->incident.state == 0) return;
  tell(app, GUNSHOT_CLOSED);
  app->incident.state = 0;
}

/* A window has decided: so many shots, none as a rule. gunshot/device/incidents.py tells the same. */
static void follow(gunshot_app *app, const gunshot_shot *shots, size_t count, const int8_t *codes) {
  for (size_t i = 0; i < count; i++) count_shot(app, &shots[i], codes);
  if (app->incident.state == 0) return;
  const uint64_t now = ends(app, app->detector.windows - 1);
  if (!app->detector.open) {
    close_incident(app);
  } else if (app->waiting > 0 && now - app->last_message >= MESSAGE_INTERVAL) {
    app->last_message = now;
    tell(app, app->incident.state);
  }
}

/* Before the first sample, and where samples are missing: no frame, window or incident reaches across. */
static void begin(gunshot_app *app) {
  close_incident(app);
  app->begun = app->counts.heard + app->counts.dropped;
  gunshot_frames_reset(&app->frames);
  gunshot_model_reset();
  gunshot_detector_settings settings = SETTINGS;
  (void)gunshot_site_thresholds(&settings.on, &settings.off, &settings.even);
  gunshot_detector_init(&app->detector, &settings);
#if GUNSHOT_WAKE_DB
  gunshot_wake_reset(&app->wake);
#endif
}

void gunshot_follow_site(gunshot_app *app) {
  begin(app);
  app->counts.operating_point = gunshot_score(app->detector.settings.on);
}

gunshot_status gunshot_init(gunshot_app *app, gunshot_ring *ring, uint8_t *arena, size_t arena_bytes) {
  memset(app, 0, sizeof *app);
  app->ring = ring;
  app->counts.detects = true;
  app->counts.model = GUNSHOT_MODEL_VERSION;
  app->counts.operating_point = gunshot_score(GUNSHOT_DETECTOR_ON);
  begin(app);
  return gunshot_model_init(gunshot_model_artifact, arena, arena_bytes);
}

/* Whether a window's logit counts; asked once, when it has ended. Where the application sleeps, those that no rise
 * wants hold no shot, but for those of an open incident. */
static bool counts(gunshot_app *app) {
#if GUNSHOT_WAKE_DB
  return gunshot_wake_takes(&app->wake, app->detector.windows) || app->detector.open;
#else
  (void)app;
  return true;
#endif
}

/* A frame was made: its rise, and, where it ends a window, the window's logit and the shots that this decides. */
static void decide(gunshot_app *app) {
  app->peaks[app->detector.frames % GUNSHOT_PEAKS] = app->frames.peak;
  int16_t rise[GUNSHOT_DETECTOR_GROUPS];
  gunshot_detector_rise(gunshot_frames_past(&app->frames), rise);
  gunshot_detector_frame(&app->detector, rise);
  const int8_t *codes = gunshot_frames_window(&app->frames);
  if (codes == NULL) return;
  int16_t logit;
  const gunshot_status status = gunshot_model_score(codes, &logit);
  if (app->detector.frames < GUNSHOT_N_FRAMES) return; /* the model hears a beginning bit by bit, not all at once */
  if (status != GUNSHOT_OK) {
    app->counts.failures++;
    logit = NO_SHOT;
  }
  if (!counts(app)) logit = NO_SHOT;
  gunshot_shot shots[SHOTS];
  size_t count = gunshot_detector_window(&app->detector, logit, shots);
  follow(app, shots, count, codes);
}

/* Count a microphone that is stuck: one value, or full scale alone, for a second. */
static void watch(gunshot_app *app, const int16_t *samples, size_t n) {
  for (size_t i = 0; i < n; i++) {
    int32_t sample = samples[i];
    bool full = sample >= FULL_SCALE || sample <= -FULL_SCALE;
    app->still = full || sample == app->sample ? app->still + (app->still <= GUNSHOT_SR) : 1;
    app->counts.stuck += app->still == GUNSHOT_SR;
    app->sample = samples[i];
    app->squares += (uint32_t)(sample * sample);
  }
  app->squared += n;
}

static void hear(gunshot_app *app, const int16_t *samples, size_t n) {
  bool complete;
  for (size_t i = 0; i < n;) {
    i += gunshot_frames_push(&app->frames, samples + i, n - i, &complete);
    if (complete) decide(app);
  }
}

#if GUNSHOT_WAKE_DB
_Static_assert(GUNSHOT_DETECTOR_LEAD % GUNSHOT_DETECTOR_HOP == 0,
               "or windows would end elsewhere where frames begin anew");

static bool awake(const gunshot_app *app) { return app->wake.wanted != 0 || app->detector.open; }

/* Go on a hop before the window that a rise wants, unless frames go so far already: so the window, the rises in it and
 * the place of windows among frames are as if nothing had slept. The model hears it bit by bit, as it does a
 * beginning. */
static void skip_to(gunshot_app *app, int64_t window) {
  const int64_t frame = (window - 1) * GUNSHOT_DETECTOR_HOP; /* the lead among them, a multiple of the hop */
  const int64_t until_first = (GUNSHOT_N_FRAMES - 1 - GUNSHOT_DETECTOR_LEAD) % GUNSHOT_DETECTOR_HOP;
  if (frame <= app->detector.frames) return;
  gunshot_frames_reset(&app->frames);
  gunshot_model_reset();
  app->detector.frames = frame;
  const int64_t passed = (frame + until_first - (GUNSHOT_N_FRAMES - 1)) / GUNSHOT_DETECTOR_HOP;
  app->detector.windows = passed > 0 ? passed : 0; /* what ends before the first is none: `decide` counts none of it */
  app->wake.read = (uint64_t)(frame - GUNSHOT_DETECTOR_LEAD) * GUNSHOT_HOP_LENGTH;
}

static void take(gunshot_app *app, const int16_t *samples, size_t n) {
  const bool slept = !awake(app);
  const int64_t window = gunshot_wake_write(&app->wake, samples, n);
  if (slept && window >= 0) skip_to(app, window);
  int16_t kept[PIECE];
  for (int i = 0; i < CATCH_UP && awake(app); i++) {
    const size_t read = gunshot_wake_read(&app->wake, kept, PIECE);
    if (read == 0) return;
    hear(app, kept, read);
  }
}

/* Whether kept samples wait to be heard. */
static bool behind(const gunshot_app *app) { return awake(app) && app->wake.read < app->wake.written; }
#else
static void take(gunshot_app *app, const int16_t *samples, size_t n) { hear(app, samples, n); }

static bool behind(const gunshot_app *app) {
  (void)app;
  return false;
}
#endif

void gunshot_poll(gunshot_app *app) {
  int16_t samples[PIECE];
  bool gap;
  size_t n;
  do {
    n = gunshot_ring_read(app->ring, samples, PIECE, &gap);
    if (gap) {
      app->counts.gaps++;
      count_dropped(app);
      begin(app);
    }
    watch(app, samples, n);
    app->counts.heard += n;
    take(app, samples, n);
    tick(app);
  } while (n > 0 || behind(app));
}

void gunshot_end(gunshot_app *app) {
  close_incident(app);
  gunshot_beat(app);
}
