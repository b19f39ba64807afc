/* A wav of 16-bit mono samples at GUNSHOT_SR, read in pieces. */
#ifndef GUNSHOT_WAV_H
#define GUNSHOT_WAV_H

#include <stdint.h>

#include "status.h"

#define GUNSHOT_WAV_BLOCK 256 /* samples that come at once, as from DMA */

typedef struct {
  int file;
  uint32_t left; /* samples */
} gunshot_wav;

/* GUNSHOT_IO: no such file, or no such wav, or one that is cut short; it says which. */
GUNSHOT_CHECKED gunshot_status gunshot_wav_open(gunshot_wav *wav, const char *path);
/* Read `n` samples, fewer at the end. Returns how many. */
uint32_t gunshot_wav_read(gunshot_wav *wav, int16_t *samples, uint32_t n);

#endif
