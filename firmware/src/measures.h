/* Integers of a message from what the device measures, each within one unit of what Python states. */
#ifndef GUNSHOT_MEASURES_H
#define GUNSHOT_MEASURES_H

#include <stdint.h>

/* Return the calibrated score, in 1/65535, of a sum of windows' logits in steps: Model.score_of in
 * gunshot/models/model.py. */
uint16_t gunshot_score(int32_t logit_sum);
/* Return tenths of dB SPL of a sample's square, or of the mean of many squares: spl_db in gunshot/base/audio.py. A square
 * below 1 counts as 1. */
int16_t gunshot_spl_db(float square);

#endif
