/* Dropout: in training some values are zero, the others are multiplied; in inference all are handed on. Twin of
 * kernels/dropout.py. */
#ifndef FXP_DROPOUT_H
#define FXP_DROPOUT_H

#include "fxp_stage.h"

fxp_fracs fxp_dropout_fracs(const fxp_model *model, const fxp_stage *stage);

/* Every value by itself, one requantization, of one sample. */
void fxp_dropout_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add one sample's error, of what was kept, to sums. */
void fxp_dropout_input_error(const fxp_backward *pass, fxp_error_sum *sums);
#endif

#endif
