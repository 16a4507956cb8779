/* Sums of tensors, element by element; of one tensor: its activation alone. Twin of kernels/add.py. */
#ifndef FXP_ADD_H
#define FXP_ADD_H

#include "fxp_stage.h"

fxp_fracs fxp_add_fracs(const fxp_model *model, const fxp_stage *stage);

/* All inputs brought to one grid, added, activated, requantized once. */
void fxp_add_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add the errors of one sample to sums as they are. */
void fxp_add_input_error(const fxp_backward *pass, fxp_error_sum *sums);
#endif

#endif
