#include "message.h"

#include <string.h>

#include "crc32.h"

enum {
  LENGTH_AT = 4,
  CRC_BYTES = 4,
  HEAD_BYTES = 18,
  LEAST = HEAD_BYTES + CRC_BYTES,
  INCIDENT_BYTES = 35,  /* fixed fields */
  HEARTBEAT_BYTES = 50, /* fixed fields */
  FIELD_BYTES = 3,      /* type and length of an optional field */
  SHAPE_BYTES = 4,      /* frames and bands */
  ONSET_BYTES = 8,
  CLOCK_BYTES = 12,
  DETECTOR_BYTES = 10,
  LOG_MEL = 1,
  ONSETS = 2,
  CLOCK = 3,
  DETECTOR = 4
};

_Static_assert(GUNSHOT_LOG_MEL_AT == HEAD_BYTES + INCIDENT_BYTES + FIELD_BYTES + SHAPE_BYTES, "codes must be there");
_Static_assert(GUNSHOT_HEARTBEAT_BYTES == LEAST + HEARTBEAT_BYTES + FIELD_BYTES + DETECTOR_BYTES, "it must fit");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "onsets must lie in memory as in a message");

static uint8_t *put(uint8_t *at, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) at[i] = (uint8_t)(value >> 8 * i);
  return at + bytes;
}

static uint64_t get(const uint8_t **at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; i++) value |= (uint64_t)(*at)[i] << 8 * i;
  *at += bytes;
  return value;
}

static int16_t get_signed(const uint8_t **at) {
  int32_t value = (int32_t)get(at, 2);
  return (int16_t)(value < 0x8000 ? value : value - 0x10000);
}

static uint8_t *put_field(uint8_t *at, uint8_t type, size_t bytes) { return put(put(at, type, 1), bytes, 2); }

static uint8_t *put_fields(uint8_t *at, const gunshot_incident *incident) {
  if (incident->log_mel) {
    size_t cells = (size_t)incident->frames * incident->bands;
    at = put_field(at, LOG_MEL, SHAPE_BYTES + cells);
    at = put(at, incident->frames, 2);
    at = put(at, incident->bands, 2);
    memmove(at, incident->log_mel, cells); /* it may lie there already */
    at += cells;
  }
  if (incident->onset_count > 0) {
    size_t bytes = (size_t)incident->onset_count * ONSET_BYTES;
    at = put_field(at, ONSETS, bytes);
    memcpy(at, incident->onsets, bytes);
    at += bytes;
  }
  if (incident->timed) {
    at = put_field(at, CLOCK, CLOCK_BYTES);
    at = put(at, incident->unix_us, 8);
    at = put(at, incident->error_us, 4);
  }
  return at;
}

static uint8_t *put_incident(uint8_t *at, const gunshot_incident *incident) {
  at = put(at, incident->incident, 4);
  at = put(at, incident->state, 1);
  at = put(at, incident->shots, 2);
  at = put(at, incident->onset, 8);
  at = put(at, incident->decided, 8);
  at = put(at, incident->score, 2);
  at = put(at, (uint16_t)incident->spl_db, 2);
  at = put(at, incident->model, 8);
  return put_fields(at, incident);
}

static uint8_t *put_heartbeat(uint8_t *at, const gunshot_heartbeat *heartbeat) {
  at = put(at, heartbeat->uptime_ms, 8);
  at = put(at, heartbeat->heard, 8);
  at = put(at, heartbeat->dropped, 8);
  at = put(at, heartbeat->gaps, 4);
  at = put(at, heartbeat->stuck, 4);
  at = put(at, heartbeat->backward, 4);
  at = put(at, heartbeat->failures, 4);
  at = put(at, heartbeat->alerts, 4);
  at = put(at, heartbeat->unsent, 4);
  at = put(at, (uint16_t)heartbeat->noise, 2);
  if (!heartbeat->detects) return at;
  at = put_field(at, DETECTOR, DETECTOR_BYTES);
  at = put(at, heartbeat->model, 8);
  return put(at, heartbeat->operating_point, 2);
}

/* 64 bits: the largest log-mel that a struct can state does not overflow them. */
static uint64_t length(const gunshot_message *message) {
  const gunshot_incident *incident = &message->incident;
  if (message->kind != GUNSHOT_INCIDENT)
    return LEAST + HEARTBEAT_BYTES + (message->heartbeat.detects ? FIELD_BYTES + DETECTOR_BYTES : 0);
  uint64_t bytes = LEAST + INCIDENT_BYTES;
  if (incident->log_mel) bytes += FIELD_BYTES + SHAPE_BYTES + (uint64_t)incident->frames * incident->bands;
  if (incident->onset_count > 0) bytes += FIELD_BYTES + (uint64_t)incident->onset_count * ONSET_BYTES;
  return incident->timed ? bytes + FIELD_BYTES + CLOCK_BYTES : bytes;
}

gunshot_status gunshot_message_encode(const gunshot_message *message, uint8_t *bytes, size_t room, size_t *size) {
  *size = (size_t)length(message);
  if (length(message) > room || length(message) > UINT16_MAX) return GUNSHOT_SPACE;
  memcpy(bytes, "GS", 2);
  uint8_t *at = put(bytes + 2, GUNSHOT_MESSAGE_VERSION, 1);
  at = put(at, message->kind, 1);
  at = put(at, *size, 2);
  at = put(at, message->device, 4);
  at = put(at, message->session, 4);
  at = put(at, message->sequence, 4);
  at = message->kind == GUNSHOT_INCIDENT ? put_incident(at, &message->incident)
                                         : put_heartbeat(at, &message->heartbeat);
  put(at, gunshot_crc32(bytes, *size - CRC_BYTES), CRC_BYTES);
  return GUNSHOT_OK;
}

/* Whether an optional field is as long as its type asks; one of no type that its kind knows is. */
typedef bool get_field(uint8_t type, const uint8_t *at, size_t size, gunshot_message *message);

static bool get_incident_field(uint8_t type, const uint8_t *at, size_t size, gunshot_message *message) {
  gunshot_incident *incident = &message->incident;
  switch (type) {
    case LOG_MEL:
      if (size < SHAPE_BYTES) return false;
      incident->frames = (uint16_t)get(&at, 2);
      incident->bands = (uint16_t)get(&at, 2);
      incident->log_mel = (const int8_t *)at;
      return size - SHAPE_BYTES == (size_t)incident->frames * incident->bands;
    case ONSETS:
      incident->onset_count = (uint16_t)(size / ONSET_BYTES);
      incident->onsets = at;
      return size % ONSET_BYTES == 0;
    case CLOCK:
      if (size != CLOCK_BYTES) return false;
      incident->timed = true;
      incident->unix_us = get(&at, 8);
      incident->error_us = (uint32_t)get(&at, 4);
      return true;
    default:
      return true;
  }
}

static bool get_heartbeat_field(uint8_t type, const uint8_t *at, size_t size, gunshot_message *message) {
  gunshot_heartbeat *heartbeat = &message->heartbeat;
  if (type != DETECTOR) return true;
  if (size != DETECTOR_BYTES) return false;
  heartbeat->detects = true;
  heartbeat->model = get(&at, 8);
  heartbeat->operating_point = (uint16_t)get(&at, 2);
  return true;
}

static gunshot_status get_fields(const uint8_t *at, const uint8_t *end, get_field *known, gunshot_message *message) {
  uint8_t seen[256 / 8] = {0};
  while (at < end) {
    if (end - at < FIELD_BYTES) return GUNSHOT_SHAPE;
    uint8_t type = (uint8_t)get(&at, 1), bit = (uint8_t)(1u << type % 8);
    size_t size = (size_t)get(&at, 2);
    if (size > (size_t)(end - at) || seen[type / 8] & bit) return GUNSHOT_SHAPE;
    seen[type / 8] |= bit;
    if (!known(type, at, size, message)) return GUNSHOT_SHAPE;
    at += size;
  }
  return GUNSHOT_OK;
}

static gunshot_status get_incident(const uint8_t *at, const uint8_t *end, gunshot_message *message) {
  gunshot_incident *incident = &message->incident;
  if (end - at < INCIDENT_BYTES) return GUNSHOT_SHAPE;
  *incident = (gunshot_incident){0};
  incident->incident = (uint32_t)get(&at, 4);
  incident->state = (uint8_t)get(&at, 1);
  incident->shots = (uint16_t)get(&at, 2);
  incident->onset = get(&at, 8);
  incident->decided = get(&at, 8);
  incident->score = (uint16_t)get(&at, 2);
  incident->spl_db = get_signed(&at);
  incident->model = get(&at, 8);
  gunshot_status status = get_fields(at, end, get_incident_field, message);
  if (status != GUNSHOT_OK) return status;
  bool state = GUNSHOT_OPENED <= incident->state && incident->state <= GUNSHOT_CLOSED;
  bool counts = incident->incident > 0 && incident->shots > 0 && incident->onset_count <= incident->shots;
  return state && counts ? GUNSHOT_OK : GUNSHOT_VALUE;
}

static gunshot_status get_heartbeat(const uint8_t *at, const uint8_t *end, gunshot_message *message) {
  gunshot_heartbeat *heartbeat = &message->heartbeat;
  if (end - at < HEARTBEAT_BYTES) return GUNSHOT_SHAPE;
  *heartbeat = (gunshot_heartbeat){0};
  heartbeat->uptime_ms = get(&at, 8);
  heartbeat->heard = get(&at, 8);
  heartbeat->dropped = get(&at, 8);
  heartbeat->gaps = (uint32_t)get(&at, 4);
  heartbeat->stuck = (uint32_t)get(&at, 4);
  heartbeat->backward = (uint32_t)get(&at, 4);
  heartbeat->failures = (uint32_t)get(&at, 4);
  heartbeat->alerts = (uint32_t)get(&at, 4);
  heartbeat->unsent = (uint32_t)get(&at, 4);
  heartbeat->noise = get_signed(&at);
  return get_fields(at, end, get_heartbeat_field, message);
}

/* Whether the bytes are one whole message of this version, whatever its kind. */
static gunshot_status check(const uint8_t *bytes, size_t size) {
  if (size < LEAST) return GUNSHOT_TRUNCATED;
  if (memcmp(bytes, "GS", 2) != 0 || bytes[2] != GUNSHOT_MESSAGE_VERSION) return GUNSHOT_VERSION;
  const uint8_t *length_at = bytes + LENGTH_AT, *crc_at = bytes + size - CRC_BYTES;
  uint64_t stated = get(&length_at, 2);
  if (size != stated) return size < stated ? GUNSHOT_TRUNCATED : GUNSHOT_SHAPE;
  return get(&crc_at, CRC_BYTES) == gunshot_crc32(bytes, size - CRC_BYTES) ? GUNSHOT_OK : GUNSHOT_CRC;
}

gunshot_status gunshot_message_decode(const uint8_t *bytes, size_t size, gunshot_message *message) {
  gunshot_status status = check(bytes, size);
  if (status != GUNSHOT_OK) return status;
  const uint8_t *at = bytes + LENGTH_AT + 2, *end = bytes + size - CRC_BYTES;
  message->device = (uint32_t)get(&at, 4);
  message->session = (uint32_t)get(&at, 4);
  message->sequence = (uint32_t)get(&at, 4);
  switch (bytes[3]) {
    case GUNSHOT_INCIDENT:
      message->kind = GUNSHOT_INCIDENT;
      return get_incident(at, end, message);
    case GUNSHOT_HEARTBEAT:
      message->kind = GUNSHOT_HEARTBEAT;
      return get_heartbeat(at, end, message);
    default:
      return GUNSHOT_VERSION;
  }
}
