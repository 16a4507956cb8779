/* Channels of several tensors side by side. Twin of kernels/add.py. */
#ifndef FXP_CONCAT_H
#define FXP_CONCAT_H

#include "fxp_stage.h"

fxp_fracs fxp_concat_fracs(const fxp_model *model, const fxp_stage *stage);

/* All inputs brought to the finest one's grid, activated, requantized. */
void fxp_concat_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add the errors of one sample at the channels of input `pass->slot` to sums. */
void fxp_concat_input_error(const fxp_backward *pass, fxp_error_sum *sums);
#endif

#endif
