/* Max-pooling that stands alone: overlapping windows. Twin of kernels/pool.py. The window is (kh, kw). */
#ifndef FXP_MAXPOOL_H
#define FXP_MAXPOOL_H

#include "fxp_stage.h"

fxp_fracs fxp_maxpool_fracs(const fxp_model *model, const fxp_stage *stage);

/* Largest value and first winning entry of each window. */
void fxp_maxpool_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add the errors of one sample to sums (h, w, c) at their windows' winners. */
void fxp_maxpool_input_error(const fxp_backward *pass, fxp_error_sum *sums);
#endif

#endif
