/* min(max(slope x + 1/2, 0), 1); the slope is `mean.shift`, with 30 fractional bits, or a sixth for 0. Twin of kernels/curves.py. */
#ifndef FXP_HARDSIGMOID_H
#define FXP_HARDSIGMOID_H

#include "fxp_stage.h"

fxp_fracs fxp_hardsigmoid_fracs(const fxp_model *model, const fxp_stage *stage);

/* Every value by itself, one requantization, of one sample. */
void fxp_hardsigmoid_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add one sample's error, times the slopes at its inputs, to sums. */
void fxp_hardsigmoid_input_error(const fxp_backward *pass, fxp_error_sum *sums);
#endif

#endif
