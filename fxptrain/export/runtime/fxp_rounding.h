/* Shift, round, saturate, in that order, once. Twin of fixed/rounding.py and kernels/requantize.py. */
#ifndef FXP_ROUNDING_H
#define FXP_ROUNDING_H

#include "fxp_config.h"
#include "fxp_draws.h"

/* The arithmetic (floor) right shift, 0 <= shift <= 63. C leaves `>>` of negatives to the compiler; where that is no floor,
 * the other form is taken. */
static inline int64_t fxp_shift_right(int64_t value, int32_t shift)
{
#if ((-1) >> 1) == (-1)
    return value >> shift;
#else
    return (value < 0) ? ~(~value >> shift) : (value >> shift);
#endif
}

/* The same in 32 bits, 0 <= shift <= 31. */
static inline int32_t fxp_shift_right_32(int32_t value, int32_t shift)
{
#if ((-1) >> 1) == (-1)
    return value >> shift;
#else
    return (value < 0) ? ~(~value >> shift) : (value >> shift);
#endif
}

/* value * 2^shift, saturated at the ends of int64. */
int64_t fxp_shift_left(int64_t value, int32_t shift);

/* value * 2^-shift; a shift <= 0 is a left shift. Bound: |value| + 2^shift < 2^63. */
int64_t fxp_round_half_even(int64_t value, int32_t shift);
#if FXP_TRAINING
int64_t fxp_round_stochastic(int64_t value, int32_t shift, uint32_t draw);
#endif

static inline int64_t fxp_saturate(int64_t value, int64_t low, int64_t high)
{
    int64_t kept = (value < low) ? low : value;
    return (kept > high) ? high : kept;
}

/* One rounding site: how its elements are rounded, and what happened so far. */
typedef struct {
    int32_t shift;
    int32_t stochastic;
    int32_t low;
    int32_t high;
    fxp_draws draws;
    uint32_t saturated;
    int32_t largest;   /* absolute raw result */
    int32_t uncounted; /* 1: nobody wants to know what happened, and it need not be kept */
} fxp_site;

fxp_site fxp_site_at(int32_t shift, int32_t stochastic, int32_t bits, uint32_t stream, uint32_t step);

/* Saturate a rounded value and count it. */
static inline int32_t fxp_store(fxp_site *site, int64_t value)
{
    const int32_t kept = (int32_t)fxp_saturate(value, site->low, site->high);
    int32_t size = (kept < 0) ? -(kept + 1) : kept; /* of the smallest int32 there is no absolute value */
    site->saturated += (kept != value) ? 1u : 0u;
    size += ((kept < 0) && (size < INT32_MAX)) ? 1 : 0;
    site->largest = (size > site->largest) ? size : site->largest;
    return kept;
}

/* The same of a value that 32 bits hold, in a format of fewer bits. */
static inline int32_t fxp_store_32(fxp_site *site, int32_t value, int32_t low, int32_t high)
{
    int32_t kept = value, size;
    if ((value < low) || (value > high)) {
        kept = (value < low) ? low : high;
        site->saturated++;
    }
    size = (kept < 0) ? -kept : kept;
    if (size > site->largest) {
        site->largest = size;
    }
    return kept;
}

/* Requantize the sum of element `index` of the site. */
int32_t fxp_requantize(fxp_site *site, int64_t sum, uint32_t index);

#endif
