/* The end of an output in 32 bits: bias, ReLU or another bound, rounding half to even, saturation. Possible where formats prove that 32 bits
 * hold everything, and where nobody counts; the bits are those of fxp_finish. */
#ifndef FXP_QUICK_H
#define FXP_QUICK_H

#include "fxp_stage.h"

typedef struct {
    int32_t possible;
    FXP_ROM fxp_param *bias; /* NULL: none */
    int32_t unit;            /* of a bias on the grid of the sums */
    int32_t half;            /* of the step of an output; a sum begins with it and its bias */
    int32_t rest;            /* the bits that are rounded away */
    int32_t shift;
    int32_t low; /* 0 where there is a ReLU */
#if FXP_FUNCTIONS
    int32_t high;
#endif
} fxp_quick;

/* The largest output: a constant, unless functions have bounds. */
#if FXP_FUNCTIONS
#define FXP_QUICK_HIGH(quick) ((quick).high)
#else
#define FXP_QUICK_HIGH(quick) FXP_MAX_RAW(FXP_VALUE_BITS)
#endif

fxp_quick fxp_quick_of(const fxp_forward *pass, int32_t taps);

/* What the sum of channel `c` begins with; 0 where it ends in fxp_finish. */
static inline int32_t fxp_quick_start(fxp_quick quick, int32_t c)
{
    return (quick.bias == NULL) ? quick.half : (quick.half + (int32_t)quick.bias[c] * quick.unit);
}

/* The output of a sum: halves are up already, and where the sum was one, the even neighbour is taken. */
static inline fxp_value fxp_quick_end(fxp_quick quick, fxp_forward_sum best)
{
    const int32_t sum = (int32_t)best;
    int32_t value = fxp_shift_right_32(sum, quick.shift);
    if ((sum & quick.rest) == 0) {
        value &= ~1;
    }
#if defined(__ARM_FEATURE_SAT) && defined(__GNUC__) && !FXP_FUNCTIONS
    __asm__("ssat %0, %1, %2" : "=r"(value) : "I"(FXP_VALUE_BITS), "r"(value));
#else
    value = (value > FXP_QUICK_HIGH(quick)) ? FXP_QUICK_HIGH(quick) : value;
#endif
    return (fxp_value)((value < quick.low) ? quick.low : value);
}

/* Output `at`, of channel `c`, by whichever way. */
static inline void fxp_end(const fxp_forward *pass, fxp_quick quick, fxp_value *y, fxp_forward_sum best, int32_t c, int32_t at)
{
    if (quick.possible) {
        y[at] = fxp_quick_end(quick, best);
    } else {
        fxp_finish(pass, best, c, at);
    }
}

#endif
