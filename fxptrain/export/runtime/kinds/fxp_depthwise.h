/* Depthwise convolution: every channel with its own kernel. Twin of kernels/depthwise.py. */
#ifndef FXP_DEPTHWISE_H
#define FXP_DEPTHWISE_H

#include "fxp_stage.h"

/* The taps of a kernel inside the input, at one position of all channels. */
typedef struct {
    int32_t x_at, x_row, w_at, rows, columns;
} fxp_taps;

static inline fxp_taps fxp_taps_at(const fxp_stage *s, fxp_position at)
{
    const fxp_range rows = fxp_rows_inside(s, at);
    const fxp_range columns = fxp_columns_inside(s, at);
    fxp_taps taps;
    taps.x_at = fxp_input_at(s, at, rows.first, columns.first);
    taps.x_row = FXP_APART_H(s, s->w * s->ci);
    taps.w_at = rows.first * s->kw + columns.first;
    taps.rows = rows.last - rows.first;
    taps.columns = columns.last - columns.first;
    return taps;
}

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
