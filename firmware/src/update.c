#include "update.h"

#include <string.h>

#include "crc32.h"
#include "message.h"
#include "port.h"

enum { KIND_AT = 3, LENGTH_AT = 4, DEVICE_AT = 6, SESSION_AT = 10, BODY_AT = 18, CRC_BYTES = 4, PART_AT = BODY_AT + 4 };
enum { ORDER_MESSAGE = BODY_AT + 1 + GUNSHOT_OTA_BYTES + CRC_BYTES, ASK_MESSAGE = BODY_AT + 4 + CRC_BYTES };

static const uint8_t MAGIC[] = {'G', 'S', GUNSHOT_MESSAGE_VERSION};

_Static_assert((int)ORDER_MESSAGE <= (int)GUNSHOT_PART_MESSAGE, "an order must fit where a part does");

/* Little-endian, as slots.c asks. */
static void put32(uint8_t *at, uint32_t value) { memcpy(at, &value, sizeof value); }

static uint32_t get32(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

/* Send `bytes`, whose body is written. Where that fails, the other end asks again. */
static void say(gunshot_update_kind kind, uint8_t *bytes, size_t size) {
  memcpy(bytes, MAGIC, sizeof MAGIC);
  bytes[KIND_AT] = (uint8_t)kind;
  bytes[LENGTH_AT] = (uint8_t)size;
  put32(bytes + DEVICE_AT, port_device());
  put32(bytes + SESSION_AT, port_session());
  put32(bytes + size - CRC_BYTES, gunshot_crc32(bytes, size - CRC_BYTES));
  const bool is_sent = port_send(bytes, size) == GUNSHOT_OK;
  (void)is_sent;
}

/* The count is taken after the question has come, and before the answer goes. */
static void tell_time(uint32_t number) {
  const uint64_t given = update_given();
  uint8_t bytes[GUNSHOT_TIME_BYTES] = {0};
  put32(bytes + BODY_AT, number);
  put32(bytes + BODY_AT + 4, (uint32_t)given);
  put32(bytes + BODY_AT + 8, (uint32_t)(given >> 32));
  const uint16_t block = port_block();
  memcpy(bytes + BODY_AT + 12, &block, sizeof block);
  say(GUNSHOT_TIME, bytes, sizeof bytes);
}

static void report(gunshot_update *update, gunshot_stage stage, gunshot_ota_verdict verdict) {
  const gunshot_slots *slots = &update->slots;
  const uint8_t *running = slots->running == GUNSHOT_NO_SLOT ? NULL : port_flash((gunshot_area)slots->running);
  uint8_t bytes[GUNSHOT_REPORT_BYTES] = {0};
  bytes[BODY_AT] = (uint8_t)stage;
  bytes[BODY_AT + 1] = (uint8_t)verdict;
  put32(bytes + BODY_AT + 2, slots->writing == GUNSHOT_NO_SLOT ? 0 : slots->written);
  put32(bytes + BODY_AT + 6, running ? gunshot_ota_version(running) : 0);
  put32(bytes + BODY_AT + 10, running ? gunshot_ota_hash(running) : 0);
  say(GUNSHOT_REPORT, bytes, sizeof bytes);
}

static void answer(gunshot_update *update, gunshot_stage stage, gunshot_ota_verdict verdict) {
  report(update, verdict == GUNSHOT_OTA_TAKE ? stage : GUNSHOT_STAGE_REFUSED, verdict);
}

static void follow(gunshot_update *update, uint8_t wanted, const uint8_t *manifest) {
  gunshot_slots *slots = &update->slots;
  if (wanted == GUNSHOT_BACK) {
    answer(update, GUNSHOT_STAGE_BACK, gunshot_slots_back(slots, manifest));
  } else if (wanted != GUNSHOT_INSTALL && wanted != GUNSHOT_KEEP) {
    answer(update, GUNSHOT_STAGE_REFUSED, GUNSHOT_OTA_UNKNOWN);
  } else if (slots->running == slots->choice.kept && gunshot_slots_has(slots->running, manifest)) {
    report(update, GUNSHOT_STAGE_KEPT, GUNSHOT_OTA_TAKE);
  } else if (wanted == GUNSHOT_KEEP) {
    answer(update, GUNSHOT_STAGE_KEPT, gunshot_slots_keep(slots, manifest));
  } else if (gunshot_slots_has(slots->choice.trial, manifest)) {
    slots->due = slots->running != slots->choice.trial; /* this start could not count it */
    report(update, GUNSHOT_STAGE_TRIAL, GUNSHOT_OTA_TAKE);
  } else {
    answer(update, GUNSHOT_STAGE_FETCHING, gunshot_slots_begin(slots, manifest));
  }
}

/* The part that is missing; another one is answered by which that is. */
static void take_part(gunshot_update *update, uint32_t at, const uint8_t *bytes, size_t size) {
  gunshot_slots *slots = &update->slots;
  gunshot_ota_verdict verdict = GUNSHOT_OTA_TAKE;
  if (slots->writing == GUNSHOT_NO_SLOT || at == slots->written) verdict = gunshot_slots_add(slots, bytes, size);
  answer(update, slots->due ? GUNSHOT_STAGE_TRIAL : GUNSHOT_STAGE_FETCHING, verdict);
}

/* How long the message is that begins here; 0 where none does. */
static size_t stated(const uint8_t *bytes) {
  const size_t size = bytes[LENGTH_AT] | (size_t)bytes[LENGTH_AT + 1] << 8;
  const bool is_order = bytes[KIND_AT] == GUNSHOT_ORDER && size == ORDER_MESSAGE;
  const bool is_part = bytes[KIND_AT] == GUNSHOT_PART && size > PART_AT + CRC_BYTES && size <= GUNSHOT_PART_MESSAGE;
  const bool is_ask = bytes[KIND_AT] == GUNSHOT_ASK && size == ASK_MESSAGE;
  return memcmp(bytes, MAGIC, sizeof MAGIC) == 0 && (is_order || is_part || is_ask) ? size : 0;
}

static void drop(gunshot_update *update, size_t bytes) {
  update->held -= bytes;
  memmove(update->bytes, update->bytes + bytes, update->held);
}

/* Take the first message, or pass over a byte that begins none. Returns whether there may be another. */
static bool take_first(gunshot_update *update) {
  const uint8_t *bytes = update->bytes;
  if (update->held < BODY_AT) return false;
  const size_t size = stated(bytes);
  if (size > update->held) return false;
  if (size == 0 || get32(bytes + size - CRC_BYTES) != gunshot_crc32(bytes, size - CRC_BYTES)) {
    drop(update, 1);
    return true;
  }
  if (bytes[KIND_AT] == GUNSHOT_ORDER) {
    follow(update, bytes[BODY_AT], bytes + BODY_AT + 1);
  } else if (bytes[KIND_AT] == GUNSHOT_ASK) {
    tell_time(get32(bytes + BODY_AT));
  } else {
    take_part(update, get32(bytes + BODY_AT), bytes + PART_AT, size - PART_AT - CRC_BYTES);
  }
  drop(update, size);
  return true;
}

void gunshot_update_start(gunshot_update *update) {
  update->held = 0;
  const gunshot_slots *slots = &update->slots;
  const bool is_kept = slots->running == slots->choice.kept;
  report(update,
         slots->running == GUNSHOT_NO_SLOT ? GUNSHOT_STAGE_FLASHED : is_kept ? GUNSHOT_STAGE_KEPT : GUNSHOT_STAGE_TRIAL,
         GUNSHOT_OTA_TAKE);
}

bool gunshot_update_poll(gunshot_update *update) {
  update->held += port_receive(update->bytes + update->held, sizeof update->bytes - update->held);
  while (!update->slots.due && take_first(update));
  return update->slots.due;
}
