/* What a device sends: alerts and heartbeats as messages of bytes, little-endian, a CRC32 at the end.
 * gunshot/device/messages.py reads and writes the same. An alert message tells one shot of an incident. It holds the
 * int8 log-mel of the deciding window as evidence, never audio.
 *
 *   "GS"  version  kind  length u16  device u32  sequence u32  fields of the kind, in order  CRC32 u32
 */
#ifndef GUNSHOT_ALERT_H
#define GUNSHOT_ALERT_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

#define GUNSHOT_MESSAGE_VERSION 1
#define GUNSHOT_HEARTBEAT_BYTES 68
#define GUNSHOT_ALERT_BYTES(cells) (56 + (cells)) /* with a log-mel of so many cells */

typedef enum { GUNSHOT_ALERT = 1, GUNSHOT_HEARTBEAT = 2 } gunshot_kind;

typedef struct {
  uint64_t onset;         /* sample of the microphone since start, of what was lost too */
  uint64_t decided;       /* sample at which the deciding window ended */
  uint32_t incident;      /* since start, from 1 on */
  uint16_t shot;          /* within the incident, from 1 on */
  uint16_t score;         /* calibrated, in 1/65535 */
  int16_t spl_db;         /* peak around the onset, dB SPL in tenths */
  uint64_t model;         /* the first 8 bytes of its SHA-256, as a number that is written as they are */
  uint16_t frames, bands; /* of the log-mel */
  const int8_t *log_mel;  /* codes of the deciding window, frame by frame */
} gunshot_alert;

typedef struct { /* all since start, but for the noise: since the heartbeat before */
  uint64_t uptime_ms;
  uint64_t heard;     /* samples */
  uint64_t dropped;   /* samples that found no room */
  uint32_t gaps;      /* where they are missing */
  uint32_t stuck;     /* times that the microphone gave one value, or full scale alone, for a second */
  uint32_t backward;  /* times that the clock ran backward */
  uint32_t failures;  /* windows that the model did not score */
  uint32_t alerts;    /* sent */
  uint32_t unsent;    /* messages that the port did not take */
  int16_t noise;      /* root of the mean square, dB SPL in tenths */
} gunshot_heartbeat;

typedef struct {
  gunshot_kind kind;
  uint32_t device, sequence; /* sequence: of all messages since start, from 0 on */
  union {
    gunshot_alert alert;
    gunshot_heartbeat heartbeat;
  };
} gunshot_message;

/* Write a message to `bytes`, which has room for `room`; `size` is its length. GUNSHOT_SPACE: it does not fit there, or
 * is longer than 65,535 bytes. */
GUNSHOT_CHECKED gunshot_status gunshot_message_encode(const gunshot_message *message, uint8_t *bytes, size_t room,
                                                      size_t *size);
/* Read the message of exactly `size` bytes; a log-mel stays where it lies. GUNSHOT_TRUNCATED: fewer than it states;
 * GUNSHOT_VERSION: no message, or of another version or kind; GUNSHOT_SHAPE: not as long as it states, or as its kind
 * and log-mel ask; GUNSHOT_CRC: damaged. */
GUNSHOT_CHECKED gunshot_status gunshot_message_decode(const uint8_t *bytes, size_t size, gunshot_message *message);

#endif
