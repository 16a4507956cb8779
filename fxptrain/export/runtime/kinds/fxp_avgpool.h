/* Means of windows (kh, kw). Twin of kernels/pool.py. */
#ifndef FXP_AVGPOOL_H
#define FXP_AVGPOOL_H

#include "fxp_stage.h"

fxp_fracs fxp_avgpool_fracs(const fxp_model *model, const fxp_stage *stage);

/* Window sum times the mantissa of 1 / (kh * kw), activated, requantized. */
void fxp_avgpool_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add every error times the mantissa to all positions of its window. */
void fxp_avgpool_input_error(const fxp_backward *pass, fxp_error_sum *sums);
#endif

#endif
