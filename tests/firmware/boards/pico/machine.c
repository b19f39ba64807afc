#include "machine.h"

#include <stdio.h>
#include <stdlib.h>

static uint16_t memory[32];
static pio_sm_config config;
static uint pc, x;
static bool word, clocked, data; /* the pins */

static void must(bool right, const char *rule) {
  if (right) return;
  fprintf(stderr, "machine: %s\n", rule);
  exit(3);
}

/* The microphone, in the left slot: it reads the word clock as the bit clock rises, and at the next fall begins a slot
 * where that has changed. In the right slot it drives nothing, and the pin is anything. */
static void microphone(bool rises) {
  static bool latched = true, begins;
  static uint32_t slot;
  if (rises) {
    begins = word != latched;
    latched = word;
    return;
  }
  if (begins && !latched) {
    int16_t sample;
    if (fread(&sample, sizeof sample, 1, stdin) != 1) exit(0);
    slot = (uint32_t)(uint16_t)sample << 16 | 0x5a00;
  } else if (begins) {
    slot = 0xa5a5a5a5;
  }
  begins = false;
  data = slot >> 31;
  slot <<= 1;
}

void machine_load(const pio_program_t *program, uint offset) {
  for (uint i = 0; i < program->length; i++) {
    memory[offset + i] = (uint16_t)(program->instructions[i] + (program->instructions[i] >> 13 == 0 ? offset : 0));
  }
}

void machine_start(uint start, const pio_sm_config *c, uint data_pin, uint clock_pin) {
  config = *c;
  pc = start;
  must(c->in_base == data_pin && c->sideset_base == clock_pin && c->sideset_bits == 2, "pins");
  must(!c->shift_right && c->autopush && c->push_threshold == 32, "shift");
}

uint32_t machine_next(void) {
  uint32_t shifted = 0;
  for (uint bits = 0; bits < 32;) {
    const uint16_t now = memory[pc];
    const bool clock = now >> 11 & 1, rises = clock && !clocked, falls = clocked && !clock;
    must((now >> 8 & 7) == 0, "no instruction waits");
    word = now >> 12 & 1;
    clocked = clock;
    if (rises || falls) microphone(rises);
    bool jumps = false;
    switch (now >> 13) {
      case 0: /* JMP X-- */
        must((now >> 5 & 7) == 2, "jump");
        jumps = x-- != 0;
        break;
      case 2: /* IN PINS, 1 */
        must((now & 0xff) == 1, "in");
        shifted = shifted << 1 | data;
        bits++;
        break;
      case 5: /* MOV Y, Y */
        must((now & 0xff) == 0x42, "mov");
        break;
      case 7: /* SET X */
        must((now >> 5 & 7) == 1, "set");
        x = now & 31;
        break;
      default:
        must(false, "unknown instruction");
    }
    pc = jumps ? now & 31 : pc == config.wrap ? config.wrap_target : pc + 1;
  }
  return shifted;
}
