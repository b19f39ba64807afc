/* Images that come by a board's line, into slots.h. A message has the head and the CRC32 of message.h, whose kinds it
 * continues. To the board, with 0 for device, session and sequence:
 *   3  order: u8 what is wanted, a manifest
 *   4  part: u32 byte of the image at which it begins, bytes, PART at most
 * From the board, at its start and after each of these, with sequence 0:
 *   5  report: u8 stage, u8 verdict of ota.h, u32 byte of the image that it wants next, u32 version that runs, and
 *      the first 4 bytes of that image's SHA-256; both 0 for what was flashed
 * The board asks for each part, so that one which was lost or damaged is sent again. gunshot/device/board_image.py is
 * the other end.
 *
 * Likewise, so that the other end knows when samples were heard (gunshot/device/board_clock.py):
 *   6  question, to the board: u32 any number
 *   7  answer: u32 that number, u64 samples that the microphone has given since start, lost ones too, u16 samples that
 *      it may have heard beside them, at most */
#ifndef GUNSHOT_UPDATE_H
#define GUNSHOT_UPDATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slots.h"

#define GUNSHOT_PART_BYTES 256
#define GUNSHOT_PART_MESSAGE (18 + 4 + GUNSHOT_PART_BYTES + 4)
#define GUNSHOT_REPORT_BYTES (18 + 14 + 4)
#define GUNSHOT_TIME_BYTES (18 + 14 + 4)

typedef enum {
  GUNSHOT_ORDER = 3,
  GUNSHOT_PART = 4,
  GUNSHOT_REPORT = 5,
  GUNSHOT_ASK = 6,
  GUNSHOT_TIME = 7
} gunshot_update_kind;
typedef enum { GUNSHOT_INSTALL = 1, GUNSHOT_KEEP = 2, GUNSHOT_BACK = 3 } gunshot_wanted;
typedef enum {
  GUNSHOT_STAGE_FLASHED = 0, /* what was flashed runs */
  GUNSHOT_STAGE_FETCHING = 1,
  GUNSHOT_STAGE_REFUSED = 2,
  GUNSHOT_STAGE_TRIAL = 3, /* it runs, or will from the next start on */
  GUNSHOT_STAGE_KEPT = 4,
  GUNSHOT_STAGE_BACK = 5
} gunshot_stage;

typedef struct {
  gunshot_slots slots;
  size_t held; /* bytes of a message that has not come whole */
  uint8_t bytes[GUNSHOT_PART_MESSAGE];
} gunshot_update;

/* Say what gunshot_slots_boot chose, in `slots`. */
void gunshot_update_start(gunshot_update *update);
/* Take what has come on the line. Returns whether the device is to start again, with another image. */
bool gunshot_update_poll(gunshot_update *update);

/* What a board gives beside port.h and slots.h: what has come on the line; it does not wait. */
size_t port_receive(uint8_t *bytes, size_t room);
/* And how many samples its microphone may have heard and not given, at most: a block, and its filter's delay. */
uint16_t port_block(void);
/* What the application gives: gunshot_given. */
uint64_t update_given(void);

#endif
