/* Whole numbers of a message from what the device measures; gunshot/detect/measures.py has the same ones. */
#ifndef GUNSHOT_MEASURES_H
#define GUNSHOT_MEASURES_H

#include <stdint.h>

/* Return the calibrated score, in 1/65535, of a sum of windows' logits in steps: Model.score_of in
 * gunshot/models/model.py, within one unit. */
uint16_t gunshot_score(int32_t logit_sum);
/* Return tenths of dB SPL of the mean of `count` squares of samples, given their sum: spl_db in gunshot/base/audio.py,
 * within one. A mean below 1 counts as 1. */
int16_t gunshot_spl_db(uint64_t squares, uint64_t count);

#endif
