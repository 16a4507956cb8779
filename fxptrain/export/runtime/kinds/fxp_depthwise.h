/* Depthwise convolution: every channel with its own kernel. Twin of kernels/depthwise.py. */
#ifndef FXP_DEPTHWISE_H
#define FXP_DEPTHWISE_H

#include "fxp_stage.h"

fxp_fracs fxp_depthwise_fracs(const fxp_model *model, const fxp_stage *stage);

/* Convolution, pooling, bias, ReLU and one requantization of one sample. */
void fxp_depthwise_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add one sample's input error to sums (h, w, c). */
void fxp_depthwise_input_error(const fxp_backward *pass, fxp_error_sum *sums);

/* Add one sample's gradient of the weights of channel `c` to sums (kh, kw). */
void fxp_depthwise_weight_gradient(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums);
#endif

#endif
