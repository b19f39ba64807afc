/* What a package's C has in the place of CMSIS-DSP's file of this name: two things that no flag need then say, since
 * Arduino lets a library set none.
 *
 * CMSIS-Core knows Cortex-M alone; elsewhere CMSIS-DSP's C is plain, by the switch that it has for Python. And products
 * that are fused with sums round otherwise than the ones that the model was checked with. */
#if !defined(__ARM_ARCH_PROFILE) || __ARM_ARCH_PROFILE != 'M'
#ifndef __GNUC_PYTHON__
#define __GNUC_PYTHON__
#endif
#endif
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#include "Include/arm_math_types.h"
