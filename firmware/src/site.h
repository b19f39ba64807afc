/* What a device has of its site's profile: when its detector decides there, and the site verifier, which tells the
 * place's own sounds from shots by the network's vectors. gunshot/site/verifier.py, integer for integer. */
#ifndef GUNSHOT_SITE_H
#define GUNSHOT_SITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

#define GUNSHOT_SITE_MOST_BYTES 200

/* Use a site's bytes from now on; they are copied. They must be for the model of this number, and for vectors as its
 * backend has them. Where the status is not GUNSHOT_OK no site is used: the operating point decides alone. A CRC says
 * that they are whole; who signed the profile that they are from is asked where that is read, not here. */
GUNSHOT_CHECKED gunshot_status gunshot_site_use(const uint8_t *bytes, size_t size, uint64_t model);
/* Write the site's thresholds, sums of logits in steps, where one is used. Returns whether one is. */
bool gunshot_site_thresholds(int32_t *on, int32_t *off, int32_t *even);
/* The logit that a window counts as, whose vectors are [positions][width]: below 0 where it is the place's own. */
int16_t gunshot_site_logit(int16_t logit, const int8_t *vectors, size_t positions, size_t width);

#endif
