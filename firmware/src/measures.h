/* Integers of a message from what the device measures, each within one unit of what Python states. */
#ifndef GUNSHOT_MEASURES_H
#define GUNSHOT_MEASURES_H

#include <stdint.h>

/* A sum of windows' levels as the calibrated score in 1/65535: models.Model.score_of. */
uint16_t gunshot_score(int32_t levels);
/* The square of a sample, or the mean of many, as dB SPL in tenths; below 1 it counts as 1: alerts.level_db. */
int16_t gunshot_level(float square);

#endif
