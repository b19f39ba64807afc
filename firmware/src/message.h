/* What a device sends, as bytes: incident messages and heartbeats, little-endian, a CRC32 at the end.
 * gunshot/device/messages.py reads and writes the same.
 *
 *   "GS"  version  kind  length u16  device u32  session u32  sequence u32
 *   the fixed fields of the kind, in the order of its struct
 *   optional fields: type u8, length u16, bytes; a reader passes over types that it does not know
 *   CRC32 u32
 *
 * Optional fields of an incident message, none of them twice:
 *   1  log-mel: frames u16, bands u16, int8 codes, frame by frame
 *   2  onsets: u64 each
 *   3  clock: u64 microseconds since 1970 (Unix) of the sample `decided`, u32 their error in microseconds
 *   8  opinion of a verifier on the device: u64 its model, u16 its score, u8 whether it upholds the incident (1) or
 *      doubts it (0). A microcontroller has none
 *   9  the site's profile by which it was decided: u64, the first 8 bytes of its file's SHA-256. A microcontroller has
 *      no file of it, but the bytes of a site verifier, and sends none
 * Of a heartbeat:
 *   4  detector: model u64, operating point u16
 *   5  near misses: count u32 since start, the highest score u16 since the heartbeat before, or 0
 *   6  log-mel of that score, as of an incident message
 *   7  rung of a ladder of thresholds: u8 how often it went up, u8 how often it may, u16 the score that opens an
 *      incident now. A microcontroller sends none of 5 to 7
 *  10  battery: u8 percent. No port here knows its battery; of another firmware's board the bridge passes it on
 *  11  change of place: u8 by what (1 on: levels, then scores), u32 seconds since 1970 when it began. A microcontroller
 *      sends none
 * Audio is in no message. */
#ifndef GUNSHOT_MESSAGE_H
#define GUNSHOT_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

#define GUNSHOT_MESSAGE_VERSION 2
#define GUNSHOT_HEARTBEAT_BYTES 85 /* with its detector */
#define GUNSHOT_LOG_MEL_AT 60 /* where a message's codes begin: no optional field is before the log-mel */
/* With a log-mel of so many cells, and so many onsets. */
#define GUNSHOT_INCIDENT_BYTES(cells, onsets) (GUNSHOT_LOG_MEL_AT + (cells) + 3 + 8 * (onsets) + 4)

typedef enum { GUNSHOT_INCIDENT = 1, GUNSHOT_HEARTBEAT = 2 } gunshot_kind;

/* Of an incident. Withdrawn: it was none after all. It is read; no device sends it yet. */
typedef enum { GUNSHOT_OPENED = 1, GUNSHOT_UPDATED = 2, GUNSHOT_WITHDRAWN = 3, GUNSHOT_CLOSED = 4 } gunshot_state;

typedef struct {
  uint32_t incident; /* since start, from 1 on */
  uint8_t state;     /* a gunshot_state */
  uint16_t shots;    /* so far, from 1 on; 65,535 stand for more too */
  uint64_t onset;    /* of the first shot: sample of the microphone since start, lost ones too */
  uint64_t decided;  /* sample at which the window ended that decided the last of these shots */
  uint16_t score;    /* the highest so far: calibrated, in 1/65535 */
  int16_t spl_db;    /* the highest so far: peak around an onset, dB SPL in tenths */
  uint64_t model;    /* the first 8 bytes of its SHA-256, as a number that is written as they are */
  /* Optional fields. */
  const int8_t *log_mel;  /* of the window that decided the highest score, or NULL */
  uint16_t frames, bands; /* of the log-mel */
  uint16_t onset_count;   /* 0: none are told */
  const void *onsets;     /* of shots that are in no earlier message: u64 each, as in the message, at any address */
  bool timed;             /* the device knows the time */
  uint64_t unix_us;       /* of the sample `decided` */
  uint32_t error_us;
} gunshot_incident;

typedef struct { /* all since start, but for the noise: since the heartbeat before */
  uint64_t uptime_ms;
  uint64_t heard;     /* samples */
  uint64_t dropped;   /* samples that found no room */
  uint32_t gaps;      /* where they are missing */
  uint32_t stuck;     /* times that the microphone gave one value, or full scale alone, for a second */
  uint32_t backward;  /* times that the clock ran backward */
  uint32_t failures;  /* windows that the model did not score */
  uint32_t alerts;    /* incident messages that the port took */
  uint32_t unsent;    /* messages that the port did not take */
  int16_t noise;      /* root of the mean square, dB SPL in tenths */
  /* Optional field. */
  bool detects;             /* the detector is told */
  uint64_t model;           /* as of an incident */
  uint16_t operating_point; /* the score that opens an incident, in 1/65535 */
} gunshot_heartbeat;

typedef struct {
  gunshot_kind kind;
  uint32_t device;
  uint32_t session;  /* of this start of the device */
  uint32_t sequence; /* of all messages of the session, from 0 on */
  union {
    gunshot_incident incident;
    gunshot_heartbeat heartbeat;
  };
} gunshot_message;

/* Write a message to `bytes`, which has room for `room`; `size` is its length. Its log-mel may lie at LOG_MEL_AT there
 * already. GUNSHOT_SPACE: it does not fit there, or is longer than 65,535 bytes. */
GUNSHOT_CHECKED gunshot_status gunshot_message_encode(const gunshot_message *message, uint8_t *bytes, size_t room,
                                                      size_t *size);
/* Read the message of exactly `size` bytes; log-mel and onsets stay where they lie. GUNSHOT_TRUNCATED: fewer than it
 * states; GUNSHOT_VERSION: no message, or of another version or kind; GUNSHOT_SHAPE: not as long as it states, or as
 * its kind and fields ask, or a field comes twice; GUNSHOT_CRC: damaged; GUNSHOT_VALUE: no such state, no shot, an
 * incident 0, or more onsets than shots. */
GUNSHOT_CHECKED gunshot_status gunshot_message_decode(const uint8_t *bytes, size_t size, gunshot_message *message);

#endif
