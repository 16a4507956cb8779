/* Pooling that stands alone: overlapping maxima and averages. Twin of kernels/pool.py. The window is (kh, kw). */
#ifndef FXP_POOL_H
#define FXP_POOL_H

#include "fxp_stage.h"

/* Largest value and first winning entry of each window. */
void fxp_maxpool_forward(const fxp_forward *pass);

/* Window sum times the mantissa of 1 / (kh * kw), rectified, requantized. */
void fxp_averagepool_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add the errors of one sample to sums (h, w, c) at their windows' winners. */
void fxp_maxpool_input_error(const fxp_backward *pass, fxp_error_sum *sums);

/* Add every error times the mantissa to all positions of its window. */
void fxp_averagepool_input_error(const fxp_backward *pass, fxp_error_sum *sums);
#endif

#endif
