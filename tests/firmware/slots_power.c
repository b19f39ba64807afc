/* slots.c on flash that loses power, after so many bytes that are erased or written and in the middle of any of them;
 * and update.c, to a line of this test's own. */
#include <setjmp.h>
#include <string.h>

#include "port.h"
#include "update.h"

enum { LOST = -1, PIECE = 100, MOST_REPORTS = 1000 };

static uint8_t flash[2 * (GUNSHOT_SLOT_BYTES + GUNSHOT_CHOICE_BYTES)];
static int64_t left = INT64_MAX, spoiled; /* bytes until power is lost; bytes that were written and not erased before */
static bool fails;                        /* the port says so then, and power stays */
static jmp_buf off;
static gunshot_slots slots;

uint8_t *slots_flash(void) { return flash; }
int64_t slots_spoiled(void) { return spoiled; }
int slots_running(void) { return slots.running; }
uint32_t slots_least(void) { return slots.choice.least; }

void slots_power(int64_t bytes, bool and_go_on) {
  left = bytes;
  fails = and_go_on;
}

static uint8_t *place(gunshot_area area) {
  if (area < GUNSHOT_CHOICE_A) return flash + area * GUNSHOT_SLOT_BYTES;
  return flash + 2 * GUNSHOT_SLOT_BYTES + (area - GUNSHOT_CHOICE_A) * GUNSHOT_CHOICE_BYTES;
}

const uint8_t *port_flash(gunshot_area area) { return place(area); }

/* Change a byte; without power to half of its bits. */
static gunshot_status change(uint8_t *byte, uint8_t to) {
  if (left-- > 0) return *byte = to, GUNSHOT_OK;
  *byte = (*byte & 0x0F) | (to & 0xF0);
  if (!fails) longjmp(off, 1);
  return GUNSHOT_IO;
}

gunshot_status port_flash_erase(gunshot_area area) {
  const size_t size = area < GUNSHOT_CHOICE_A ? GUNSHOT_SLOT_BYTES : GUNSHOT_CHOICE_BYTES;
  for (size_t i = 0; i < size; i++) {
    if (change(place(area) + i, 0xFF) != GUNSHOT_OK) return GUNSHOT_IO;
  }
  return GUNSHOT_OK;
}

gunshot_status port_flash_write(gunshot_area area, size_t at, const uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) {
    uint8_t *byte = place(area) + at + i;
    spoiled += *byte != 0xFF;
    if (change(byte, *byte & bytes[i]) != GUNSHOT_OK) return GUNSHOT_IO;
  }
  return GUNSHOT_OK;
}

int slots_boot(const gunshot_ota_device *device) {
  if (setjmp(off)) return LOST;
  gunshot_slots_boot(&slots, device);
  return slots.running;
}

int slots_install(const uint8_t *manifest, const uint8_t *image, size_t size) {
  if (setjmp(off)) return LOST;
  gunshot_ota_verdict verdict = gunshot_slots_begin(&slots, manifest);
  for (size_t at = 0; verdict == GUNSHOT_OTA_TAKE && at < size; at += PIECE) {
    verdict = gunshot_slots_add(&slots, image + at, size - at < PIECE ? size - at : PIECE);
  }
  return verdict;
}

int slots_keep(const uint8_t *manifest) { return setjmp(off) ? LOST : (int)gunshot_slots_keep(&slots, manifest); }
int slots_back(const uint8_t *manifest) { return setjmp(off) ? LOST : (int)gunshot_slots_back(&slots, manifest); }

static const uint8_t *next;
static size_t waits, reported;
static uint8_t reports[MOST_REPORTS * GUNSHOT_REPORT_BYTES];
static gunshot_update update;

uint32_t port_device(void) { return 7; }
uint32_t port_session(void) { return 9; }
uint16_t port_block(void) { return 112; }
uint64_t update_given(void) { return 0x123456789A; }

gunshot_status port_send(const uint8_t *message, size_t size) {
  if (reported + size > sizeof reports) return GUNSHOT_IO;
  memcpy(reports + reported, message, size);
  reported += size;
  return GUNSHOT_OK;
}

size_t port_receive(uint8_t *bytes, size_t room) {
  const size_t size = waits < room ? waits : room;
  memcpy(bytes, next, size);
  next += size;
  waits -= size;
  return size;
}

uint8_t *line_reports(void) { return reports; }

void line_start(const gunshot_ota_device *device) {
  reported = 0;
  gunshot_slots_boot(&update.slots, device);
  gunshot_update_start(&update);
}

/* Bytes come in pieces; the reports so far, in bytes. */
size_t line_hear(const uint8_t *bytes, size_t size, size_t piece) {
  for (size_t at = 0; at < size; at += piece) {
    next = bytes + at;
    waits = size - at < piece ? size - at : piece;
    while (!gunshot_update_poll(&update) && waits > 0);
  }
  return reported;
}
