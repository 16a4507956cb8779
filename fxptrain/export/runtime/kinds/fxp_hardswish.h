/* x min(max(x + 3, 0), 6) / 6. Twin of kernels/curves.py. */
#ifndef FXP_HARDSWISH_H
#define FXP_HARDSWISH_H

#include "fxp_stage.h"

fxp_fracs fxp_hardswish_fracs(const fxp_model *model, const fxp_stage *stage);

/* Every value by itself, one requantization, of one sample. */
void fxp_hardswish_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add one sample's error, times the slopes at its inputs, to sums. */
void fxp_hardswish_input_error(const fxp_backward *pass, fxp_error_sum *sums);
#endif

#endif
