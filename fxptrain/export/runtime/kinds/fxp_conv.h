/* Convolution and linear layers. Twin of kernels/conv.py; the loops that multiply are in fxp_dot.c and fxp_forward_dot.h. */
#ifndef FXP_CONV_H
#define FXP_CONV_H

#include "fxp_dot.h"
#include "fxp_stage.h"

fxp_fracs fxp_conv_fracs(const fxp_model *model, const fxp_stage *stage);

/* Convolution, pooling, bias, ReLU and one requantization of one sample. */
void fxp_conv_forward(const fxp_forward *pass);

/* A linear layer sees its whole input. */
static inline int32_t fxp_conv_sees_all(const fxp_stage *s)
{
    return (s->kh == s->h) && (s->kw == s->w) && (s->pad_h == 0) && (s->pad_w == 0);
}

/* A kernel of 1 x 1 reads the input where it lies. */
static inline int32_t fxp_conv_is_pointwise(const fxp_stage *s)
{
    return (s->kh == 1) && (s->kw == 1) && (s->pad_h == 0) && (s->pad_w == 0);
}

#if FXP_HELIUM
/* Output channels first <= c < last, whose weights begin at `weights` (fxp_conv_vectors.c). */
void fxp_conv_panel(const fxp_forward *pass, const fxp_param *weights, int32_t first, int32_t last);
#endif

#if FXP_TRAINING
/* Add one sample's input error to sums (h, w, ci): every error goes back through the kernel at its winner. */
void fxp_conv_input_error(const fxp_backward *pass, fxp_error_sum *sums);

#if FXP_ERROR_DOTS
/* The same with vectors, where that pays (fxp_conv_back_vectors.c); returns whether it is done. */
int32_t fxp_conv_error_dots(const fxp_backward *pass, fxp_error_sum *sums);
#endif

/* Add one sample's gradient of the weights of channel `c` to sums (kh, kw, ci). */
void fxp_conv_weight_gradient(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums);
#endif

#endif
