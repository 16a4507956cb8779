/* The end of an output in 32 bits: bias, ReLU, rounding half to even, saturation. Possible where formats prove that 32 bits
 * hold everything, and where nobody counts; the bits are those of fxp_finish. */
#ifndef FXP_QUICK_H
#define FXP_QUICK_H

#include "fxp_stage.h"

typedef struct {
    int32_t possible;
    FXP_ROM fxp_param *bias; /* NULL: none */
    int32_t unit;            /* of a bias on the grid of the sums */
    int32_t floor;           /* 0 where there is a ReLU */
    int32_t shift;
    int32_t half; /* just under a half */
} fxp_quick;

fxp_quick fxp_quick_of(const fxp_forward *pass, int32_t taps);

/* The rounded output of channel `c`. */
static inline fxp_value fxp_quick_end(fxp_quick quick, fxp_forward_sum best, int32_t c)
{
    int32_t sum = (int32_t)best;
    if (quick.bias != NULL) {
        sum += (int32_t)quick.bias[c] * quick.unit;
    }
    sum = (sum < quick.floor) ? quick.floor : sum;
    sum += quick.half + (fxp_shift_right_32(sum, quick.shift) & 1);
    sum = fxp_shift_right_32(sum, quick.shift);
#if defined(__ARM_FEATURE_SAT) && defined(__GNUC__)
    __asm__("ssat %0, %1, %2" : "=r"(sum) : "I"(FXP_VALUE_BITS), "r"(sum));
#else
    sum = (sum < FXP_MIN_RAW(FXP_VALUE_BITS)) ? FXP_MIN_RAW(FXP_VALUE_BITS) : sum;
    sum = (sum > FXP_MAX_RAW(FXP_VALUE_BITS)) ? FXP_MAX_RAW(FXP_VALUE_BITS) : sum;
#endif
    return (fxp_value)sum;
}

/* An output, by whichever way. */
static inline void fxp_end(const fxp_forward *pass, fxp_quick quick, fxp_forward_sum best, int32_t c, int32_t at)
{
    if (quick.possible) {
        pass->y[at] = fxp_quick_end(quick, best, c);
    } else {
        fxp_finish(pass, best, c, at);
    }
}

#endif
