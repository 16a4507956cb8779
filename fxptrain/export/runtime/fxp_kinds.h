/* Which functions compute a stage: switches over the kinds that a model has, in the generated fxp_kinds.c. Of every kind
 * there is a file fxp_<kind>.c with functions named like these. */
#ifndef FXP_KINDS_H
#define FXP_KINDS_H

#include "fxp_stage.h"

/* Fractional bits of a stage's sums now. */
fxp_fracs fxp_kind_fracs(const fxp_model *model, const fxp_stage *stage);

/* Output of one sample. */
void fxp_kind_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add one sample's error at input `pass->slot` to sums. */
void fxp_kind_input_error(const fxp_backward *pass, fxp_error_sum *sums);

/* Add one sample's gradient of the weights of channel `c` to sums. */
void fxp_kind_weight_gradient(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums);
#endif

#endif
