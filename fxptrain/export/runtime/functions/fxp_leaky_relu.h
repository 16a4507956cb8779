/* x where it is positive, x * slope * 2^-added_frac elsewhere, on a grid that is finer by added_frac bits; the slope is
 * below 2^added_frac. Twin of nn/layers/activation.py, Slope. */
#ifndef FXP_LEAKY_RELU_H
#define FXP_LEAKY_RELU_H

#include "fxp_stage.h"

static inline int64_t fxp_leaky_relu_factor(const fxp_stage *stage, int32_t positive)
{
    return positive ? ((int64_t)1 << stage->added_frac) : stage->constants[0];
}

static inline int64_t fxp_leaky_relu_value(const fxp_stage *stage, int64_t sum)
{
    return sum * fxp_leaky_relu_factor(stage, sum > 0);
}

/* An error is scaled as the value was; at zero as a negative one. */
static inline int64_t fxp_leaky_relu_error(const fxp_stage *stage, int64_t x, int64_t sum)
{
    return sum * fxp_leaky_relu_factor(stage, x > 0);
}

#endif
