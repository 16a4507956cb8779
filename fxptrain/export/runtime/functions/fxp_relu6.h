/* min(max(x, 0), 6), 6 rounded half to even to the output's format. Twin of nn/layers/activation.py, BoundedRectifier. */
#ifndef FXP_RELU6_H
#define FXP_RELU6_H

#include "fxp_stage.h"

static inline int64_t fxp_relu6_ceiling(const fxp_stage *stage, int32_t frac)
{
    (void)stage;
    return (frac < -3) ? 0 : fxp_round_half_even(6, -frac);
}

#endif
