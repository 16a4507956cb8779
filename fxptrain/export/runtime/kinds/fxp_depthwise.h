/* Depthwise convolution: every channel with its own kernel. Twin of kernels/depthwise.py. */
#ifndef FXP_DEPTHWISE_H
#define FXP_DEPTHWISE_H

#include "fxp_dot.h"
#include "fxp_quick.h"

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

#if FXP_HELIUM

/* With vectors and without pooling, all of a stage whose kernel has no more than so many taps (fxp_depthwise_vectors.c). */
#define FXP_LANE_TAPS 64
#define FXP_LANES 8

void fxp_depthwise_lanes(const fxp_forward *pass, const fxp_quick *quick, const fxp_param *weights);

/* Weights (tap, channel) of some channels from `c` on, zeros behind them. */
void fxp_lane_weights(const fxp_stage *s, const fxp_param *weights, int32_t c, int32_t channels, fxp_param (*w)[FXP_LANES]);

/* How many positions of an axis have their last tap inside: those of them that do not begin in the padding see all taps. */
static inline int32_t fxp_whole(int32_t last, int32_t stride, int32_t positions)
{
    const int32_t count = (last < 0) ? 0 : (last / stride + 1);
    return (count < positions) ? count : positions;
}

static inline int32_t fxp_rows_whole(const fxp_stage *s)
{
    return fxp_whole(s->h - 1 - FXP_APART_H(s, s->kh - 1) + s->pad_h, s->sh, s->oh);
}

static inline int32_t fxp_columns_whole(const fxp_stage *s)
{
    return fxp_whole(s->w - 1 - FXP_APART_W(s, s->kw - 1) + s->pad_w, s->sw, s->ow);
}

#if FXP_TRAINING
/* The two functions below with vectors, where they can (fxp_depthwise_back_vectors.c); return whether it is done. */
int32_t fxp_depthwise_error_lanes(const fxp_backward *pass, fxp_error_sum *sums);
int32_t fxp_depthwise_gradient_lanes(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums);
#endif

#endif

#if FXP_TRAINING
/* Add one sample's input error to sums (h, w, c). */
void fxp_depthwise_input_error(const fxp_backward *pass, fxp_error_sum *sums);

/* Add one sample's gradient of the weights of channel `c` to sums (kh, kw). */
void fxp_depthwise_weight_gradient(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums);
#endif

#endif
