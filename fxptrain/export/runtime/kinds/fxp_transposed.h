/* Transposed convolution: stride 1 over the input with zeros between its values, sh and sw apart. Twin of
 * nn/layers/transposed.py. */
#ifndef FXP_TRANSPOSED_H
#define FXP_TRANSPOSED_H

#include "fxp_stage.h"

fxp_fracs fxp_transposed_fracs(const fxp_model *model, const fxp_stage *stage);

/* Convolution, pooling, bias, ReLU and one requantization of one sample. */
void fxp_transposed_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add one sample's input error to sums (h, w, ci). */
void fxp_transposed_input_error(const fxp_backward *pass, fxp_error_sum *sums);

/* Add one sample's gradient of the weights of channel `c` to sums (kh, kw, ci). */
void fxp_transposed_weight_gradient(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums);
#endif

#endif
