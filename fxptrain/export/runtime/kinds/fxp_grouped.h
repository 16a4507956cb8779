/* Convolution whose channels are split into groups: an output reads the inputs of its own group. Twin of
 * nn/layers/conv2d.py. */
#ifndef FXP_GROUPED_H
#define FXP_GROUPED_H

#include "fxp_stage.h"

fxp_fracs fxp_grouped_fracs(const fxp_model *model, const fxp_stage *stage);

/* Convolution, pooling, bias, ReLU and one requantization of one sample. */
void fxp_grouped_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add one sample's input error to sums (h, w, ci). */
void fxp_grouped_input_error(const fxp_backward *pass, fxp_error_sum *sums);

/* Add one sample's gradient of the weights of channel `c` to sums (kh, kw, ci of a group). */
void fxp_grouped_weight_gradient(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums);
#endif

#endif
