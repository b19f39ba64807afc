#include "slots.h"

#include <string.h>

#include "crc32.h"

enum { CHOICES = 2, MOST_STARTS = 3 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a choice's members lie as they are read");
_Static_assert(sizeof(gunshot_choice) == 20, "a choice has no gaps");

static const gunshot_choice AS_FLASHED = {.kept = GUNSHOT_NO_SLOT, .trial = GUNSHOT_NO_SLOT};

static const uint8_t *manifest_in(uint8_t slot) { return port_flash((gunshot_area)slot); }

static uint32_t checksum(const gunshot_choice *choice) {
  return gunshot_crc32((const uint8_t *)choice + sizeof choice->crc32, sizeof *choice - sizeof choice->crc32);
}

static gunshot_choice newest(void) {
  gunshot_choice best = AS_FLASHED;
  for (int i = 0; i < CHOICES; i++) {
    gunshot_choice choice;
    memcpy(&choice, port_flash((gunshot_area)(GUNSHOT_CHOICE_A + i)), sizeof choice);
    if (choice.crc32 == checksum(&choice) && choice.number > best.number) best = choice;
  }
  return best;
}

/* Never over the choice that holds: numbers alternate between the areas. One that could not be written is not used. */
static bool save(gunshot_slots *slots, gunshot_choice next) {
  next.number++;
  next.crc32 = checksum(&next);
  const gunshot_area area = (gunshot_area)(GUNSHOT_CHOICE_A + next.number % CHOICES);
  if (port_flash_erase(area) != GUNSHOT_OK) return false;
  if (port_flash_write(area, 0, (const uint8_t *)&next, sizeof next) != GUNSHOT_OK) return false;
  slots->choice = next;
  return true;
}

static bool end_trial(gunshot_slots *slots, bool is_over) {
  gunshot_choice next = slots->choice;
  if (is_over) next.over = gunshot_ota_hash(manifest_in(next.trial));
  next.trial = GUNSHOT_NO_SLOT;
  return save(slots, next);
}

/* A slot's image, looked at whole. */
static gunshot_ota_verdict verify(const gunshot_slots *slots, uint8_t slot) {
  const uint8_t *manifest = manifest_in(slot);
  const uint32_t size = gunshot_ota_size(manifest);
  if (size > GUNSHOT_SLOT_BYTES - GUNSHOT_OTA_BYTES) return GUNSHOT_OTA_LENGTH;
  return gunshot_ota_verify(manifest, GUNSHOT_OTA_BYTES, manifest + GUNSHOT_OTA_BYTES, size, &slots->device);
}

/* Whether the trial runs now: its start is counted before, or it could fail for ever. */
static bool tries(gunshot_slots *slots) {
  gunshot_choice next = slots->choice;
  if (next.trial == GUNSHOT_NO_SLOT) return false;
  const bool is_over = next.starts >= MOST_STARTS; /* a damaged one may come again */
  if (is_over || verify(slots, next.trial) != GUNSHOT_OTA_TAKE) {
    (void)end_trial(slots, is_over); /* if that cannot be written, the next start ends it */
    return false;
  }
  next.starts++;
  return save(slots, next);
}

void gunshot_slots_boot(gunshot_slots *slots, const gunshot_ota_device *device) {
  *slots = (gunshot_slots){
      .device = *device, .choice = newest(), .running = GUNSHOT_NO_SLOT, .writing = GUNSHOT_NO_SLOT};
  if (slots->choice.least > device->installed) slots->device.installed = slots->choice.least;
  if (tries(slots)) {
    slots->running = slots->choice.trial;
  } else if (slots->choice.kept != GUNSHOT_NO_SLOT && verify(slots, slots->choice.kept) == GUNSHOT_OTA_TAKE) {
    slots->running = slots->choice.kept;
  }
}

bool gunshot_slots_has(uint8_t slot, const uint8_t manifest[GUNSHOT_OTA_BYTES]) {
  return slot != GUNSHOT_NO_SLOT && memcmp(manifest_in(slot), manifest, GUNSHOT_OTA_BYTES) == 0;
}

gunshot_ota_verdict gunshot_slots_begin(gunshot_slots *slots, const uint8_t manifest[GUNSHOT_OTA_BYTES]) {
  if (gunshot_slots_has(slots->writing, manifest)) return GUNSHOT_OTA_TAKE;
  slots->writing = GUNSHOT_NO_SLOT;
  const gunshot_ota_verdict verdict = gunshot_ota_check(manifest, GUNSHOT_OTA_BYTES, &slots->device);
  if (verdict != GUNSHOT_OTA_TAKE) return verdict;
  if (gunshot_ota_size(manifest) > GUNSHOT_SLOT_BYTES - GUNSHOT_OTA_BYTES) return GUNSHOT_OTA_LENGTH;
  gunshot_choice next = slots->choice;
  if (gunshot_ota_hash(manifest) == next.over) return GUNSHOT_OTA_OVER;
  const uint8_t idle = next.kept == GUNSHOT_SLOT_A ? GUNSHOT_SLOT_B : GUNSHOT_SLOT_A;
  if (slots->running == idle) return GUNSHOT_OTA_TRIAL;
  next.trial = GUNSHOT_NO_SLOT;
  if (slots->choice.trial != GUNSHOT_NO_SLOT && !save(slots, next)) return GUNSHOT_OTA_DISK;
  if (port_flash_erase((gunshot_area)idle) != GUNSHOT_OK ||
      port_flash_write((gunshot_area)idle, 0, manifest, GUNSHOT_OTA_BYTES) != GUNSHOT_OK) {
    return GUNSHOT_OTA_DISK;
  }
  slots->writing = idle;
  slots->written = 0;
  return GUNSHOT_OTA_TAKE;
}

static gunshot_ota_verdict finish(gunshot_slots *slots) {
  gunshot_choice next = slots->choice;
  next.trial = slots->writing;
  next.starts = 0;
  slots->writing = GUNSHOT_NO_SLOT;
  const gunshot_ota_verdict verdict = verify(slots, next.trial);
  if (verdict != GUNSHOT_OTA_TAKE) return verdict;
  slots->due = save(slots, next);
  return slots->due ? GUNSHOT_OTA_TAKE : GUNSHOT_OTA_DISK;
}

gunshot_ota_verdict gunshot_slots_add(gunshot_slots *slots, const uint8_t *bytes, size_t size) {
  if (slots->writing == GUNSHOT_NO_SLOT) return GUNSHOT_OTA_UNKNOWN;
  const uint32_t whole = gunshot_ota_size(manifest_in(slots->writing));
  if (size > whole - slots->written) {
    slots->writing = GUNSHOT_NO_SLOT;
    return GUNSHOT_OTA_IMAGE;
  }
  const size_t at = GUNSHOT_OTA_BYTES + slots->written;
  if (port_flash_write((gunshot_area)slots->writing, at, bytes, size) != GUNSHOT_OK) {
    slots->writing = GUNSHOT_NO_SLOT;
    return GUNSHOT_OTA_DISK;
  }
  slots->written += (uint32_t)size;
  return slots->written == whole ? finish(slots) : GUNSHOT_OTA_TAKE;
}

gunshot_ota_verdict gunshot_slots_keep(gunshot_slots *slots, const uint8_t manifest[GUNSHOT_OTA_BYTES]) {
  gunshot_choice next = slots->choice;
  if (slots->running != next.trial || !gunshot_slots_has(next.trial, manifest)) return GUNSHOT_OTA_UNKNOWN;
  next.kept = next.trial;
  next.trial = GUNSHOT_NO_SLOT;
  next.least = gunshot_ota_version(manifest);
  if (!save(slots, next)) return GUNSHOT_OTA_DISK;
  slots->device.installed = next.least;
  return GUNSHOT_OTA_TAKE;
}

gunshot_ota_verdict gunshot_slots_back(gunshot_slots *slots, const uint8_t manifest[GUNSHOT_OTA_BYTES]) {
  if (!gunshot_slots_has(slots->choice.trial, manifest)) return GUNSHOT_OTA_UNKNOWN;
  if (!end_trial(slots, true)) return GUNSHOT_OTA_DISK;
  slots->due = true;
  return GUNSHOT_OTA_TAKE;
}
