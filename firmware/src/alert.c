#include "alert.h"

#include <string.h>

#include "crc32.h"

enum { LENGTH_AT = 4, BODY_AT = 14, CRC_BYTES = 4, LEAST = BODY_AT + CRC_BYTES };

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

static uint8_t *put_alert(uint8_t *at, const gunshot_alert *alert) {
  at = put(at, alert->onset, 8);
  at = put(at, alert->decided, 8);
  at = put(at, alert->incident, 4);
  at = put(at, alert->shot, 2);
  at = put(at, alert->score, 2);
  at = put(at, (uint16_t)alert->spl_db, 2);
  at = put(at, alert->model, 8);
  at = put(at, alert->frames, 2);
  at = put(at, alert->bands, 2);
  size_t cells = (size_t)alert->frames * alert->bands;
  for (size_t i = 0; i < cells; i++) at[i] = (uint8_t)alert->log_mel[i];
  return at + cells;
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
  return put(at, (uint16_t)heartbeat->noise, 2);
}

gunshot_status gunshot_message_encode(const gunshot_message *message, uint8_t *bytes, size_t room, size_t *size) {
  const gunshot_alert *alert = &message->alert;
  *size = message->kind == GUNSHOT_ALERT ? GUNSHOT_ALERT_BYTES((size_t)alert->frames * alert->bands)
                                         : GUNSHOT_HEARTBEAT_BYTES;
  if (*size > room || *size > UINT16_MAX) return GUNSHOT_SPACE;
  memcpy(bytes, "GS", 2);
  uint8_t *at = put(bytes + 2, GUNSHOT_MESSAGE_VERSION, 1);
  at = put(at, message->kind, 1);
  at = put(at, *size, 2);
  at = put(at, message->device, 4);
  at = put(at, message->sequence, 4);
  at = message->kind == GUNSHOT_ALERT ? put_alert(at, alert) : put_heartbeat(at, &message->heartbeat);
  put(at, gunshot_crc32(bytes, *size - CRC_BYTES), CRC_BYTES);
  return GUNSHOT_OK;
}

static gunshot_status get_alert(const uint8_t *at, size_t size, gunshot_alert *alert) {
  if (size < GUNSHOT_ALERT_BYTES(0)) return GUNSHOT_SHAPE;
  alert->onset = get(&at, 8);
  alert->decided = get(&at, 8);
  alert->incident = (uint32_t)get(&at, 4);
  alert->shot = (uint16_t)get(&at, 2);
  alert->score = (uint16_t)get(&at, 2);
  alert->spl_db = get_signed(&at);
  alert->model = get(&at, 8);
  alert->frames = (uint16_t)get(&at, 2);
  alert->bands = (uint16_t)get(&at, 2);
  alert->log_mel = (const int8_t *)at;
  return size == GUNSHOT_ALERT_BYTES((size_t)alert->frames * alert->bands) ? GUNSHOT_OK : GUNSHOT_SHAPE;
}

static gunshot_status get_heartbeat(const uint8_t *at, size_t size, gunshot_heartbeat *heartbeat) {
  if (size != GUNSHOT_HEARTBEAT_BYTES) return GUNSHOT_SHAPE;
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
  return GUNSHOT_OK;
}

/* Whether the bytes are one whole message of this version, whatever its kind. */
static gunshot_status check(const uint8_t *bytes, size_t size) {
  if (size < LEAST) return GUNSHOT_TRUNCATED;
  if (memcmp(bytes, "GS", 2) != 0 || bytes[2] != GUNSHOT_MESSAGE_VERSION) return GUNSHOT_VERSION;
  const uint8_t *length_at = bytes + LENGTH_AT, *crc_at = bytes + size - CRC_BYTES;
  uint64_t length = get(&length_at, 2);
  if (size != length) return size < length ? GUNSHOT_TRUNCATED : GUNSHOT_SHAPE;
  return get(&crc_at, CRC_BYTES) == gunshot_crc32(bytes, size - CRC_BYTES) ? GUNSHOT_OK : GUNSHOT_CRC;
}

gunshot_status gunshot_message_decode(const uint8_t *bytes, size_t size, gunshot_message *message) {
  gunshot_status status = check(bytes, size);
  if (status != GUNSHOT_OK) return status;
  const uint8_t *at = bytes + LENGTH_AT + 2;
  message->device = (uint32_t)get(&at, 4);
  message->sequence = (uint32_t)get(&at, 4);
  switch (bytes[3]) {
    case GUNSHOT_ALERT:
      message->kind = GUNSHOT_ALERT;
      return get_alert(at, size, &message->alert);
    case GUNSHOT_HEARTBEAT:
      message->kind = GUNSHOT_HEARTBEAT;
      return get_heartbeat(at, size, &message->heartbeat);
    default:
      return GUNSHOT_VERSION;
  }
}
