/* min(max(x, low), high), the bounds with 16 fractional bits rounded half to even to the output's format. Twin of
 * nn/layers/activation.py, Bounded. */
#ifndef FXP_CLAMP_H
#define FXP_CLAMP_H

#include "fxp_stage.h"

static inline int64_t fxp_clamp_bound(int32_t bound, int32_t frac)
{
    return (frac < -32) ? 0 : fxp_round_half_even(bound, 16 - frac);
}

static inline fxp_bounds fxp_clamp_bounds(const fxp_stage *stage, int32_t frac)
{
    fxp_bounds bounds = {INT64_MIN, INT64_MAX};
    if (stage->constants[0] > INT32_MIN) {
        bounds.low = fxp_clamp_bound(stage->constants[0], frac);
    }
    if (stage->constants[1] < INT32_MAX) {
        bounds.high = fxp_clamp_bound(stage->constants[1], frac);
    }
    return bounds;
}

#endif
