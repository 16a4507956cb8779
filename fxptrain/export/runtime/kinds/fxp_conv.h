/* Convolution and linear layers. Twin of kernels/conv.py; the loops that multiply are in fxp_dot.c and fxp_forward_dot.h. */
#ifndef FXP_CONV_H
#define FXP_CONV_H

#include "fxp_stage.h"

fxp_fracs fxp_conv_fracs(const fxp_model *model, const fxp_stage *stage);

/* Convolution, pooling, bias, ReLU and one requantization of one sample. */
void fxp_conv_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add one sample's input error to sums (h, w, ci): every error goes back through the kernel at its winner. */
void fxp_conv_input_error(const fxp_backward *pass, fxp_error_sum *sums);

/* Add one sample's gradient of the weights of channel `c` to sums (kh, kw, ci). */
void fxp_conv_weight_gradient(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums);
#endif

#endif
