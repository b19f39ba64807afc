/* Flash of an emulated board: slot A, slot B and both choices, one after another, in RAM and in the file `flash`. Each
 * erase and write is in the file before it returns, so that the next start finds what flash would have. The line is the
 * board's UART. */
#include <string.h>

#include "files.h"
#include "update.h"
#include "wav.h"

enum { ERASED = 0xFF, SLOTS = 2 };

static uint8_t flash[SLOTS * (GUNSHOT_SLOT_BYTES + GUNSHOT_CHOICE_BYTES)];
static int flash_file, line;
static bool opened;

static void bring(void) {
  opened = true;
  memset(flash, ERASED, sizeof flash);
  flash_file = files_open("flash", FILES_CHANGE);
  if (flash_file < 0 || files_size(flash_file) != sizeof flash ||
      files_read(flash_file, flash, sizeof flash) != sizeof flash) {
    memset(flash, ERASED, sizeof flash);
    flash_file = -1;
    files_say("warning: flash: no file of its size; no image is taken\n");
  }
  line = files_open("uart", FILES_CHANGE);
}

static bool is_slot(gunshot_area area) { return area < GUNSHOT_CHOICE_A; }

static size_t size_of(gunshot_area area) { return is_slot(area) ? GUNSHOT_SLOT_BYTES : GUNSHOT_CHOICE_BYTES; }

static size_t place(gunshot_area area) {
  const size_t slots = is_slot(area) ? area : SLOTS, choices = is_slot(area) ? 0 : area - GUNSHOT_CHOICE_A;
  return slots * GUNSHOT_SLOT_BYTES + choices * GUNSHOT_CHOICE_BYTES;
}

const uint8_t *port_flash(gunshot_area area) {
  if (!opened) bring();
  return flash + place(area);
}

static gunshot_status to_disk(size_t at, size_t size) {
  const bool written = flash_file >= 0 && files_write_at(flash_file, at, flash + at, size);
  return written ? GUNSHOT_OK : GUNSHOT_IO;
}

static bool is_blank(gunshot_area area) {
  const uint8_t *bytes = flash + place(area);
  size_t i = 0;
  while (i < size_of(area) && bytes[i] == ERASED) i++;
  return i == size_of(area);
}

gunshot_status port_flash_erase(gunshot_area area) {
  if (is_blank(area)) return GUNSHOT_OK; /* each erase wears flash */
  memset(flash + place(area), ERASED, size_of(area));
  return to_disk(place(area), size_of(area));
}

gunshot_status port_flash_write(gunshot_area area, size_t at, const uint8_t *bytes, size_t size) {
  if (at + size > size_of(area)) return GUNSHOT_SPACE;
  uint8_t *here = flash + place(area) + at;
  for (size_t i = 0; i < size; i++) here[i] &= bytes[i]; /* as flash does: a byte that was not erased is spoiled */
  return to_disk(place(area) + at, size);
}

size_t port_receive(uint8_t *bytes, size_t room) { return files_read(line, bytes, room); }

uint16_t port_block(void) { return GUNSHOT_WAV_BLOCK; }
