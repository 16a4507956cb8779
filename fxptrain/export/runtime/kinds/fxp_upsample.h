/* Nearest up-sampling: every value kh times along height and kw times along width. Twin of kernels/upsample.py. */
#ifndef FXP_UPSAMPLE_H
#define FXP_UPSAMPLE_H

#include "fxp_stage.h"

fxp_fracs fxp_upsample_fracs(const fxp_model *model, const fxp_stage *stage);

/* Copies of one sample's values. */
void fxp_upsample_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add one sample's errors of all copies to sums. */
void fxp_upsample_input_error(const fxp_backward *pass, fxp_error_sum *sums);
#endif

#endif
