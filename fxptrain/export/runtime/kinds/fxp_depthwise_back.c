/* The way back through a depthwise convolution: its input error and the gradient of its weights. */
#include "fxp_depthwise.h"

#if FXP_TRAINING && FXP_BACK_DEPTHWISE

/* The error of one channel goes back through the taps inside. */
static void hand_back(const fxp_stage *s, const fxp_taps *taps, FXP_ROM fxp_param *weights, fxp_error_sum e,
                      fxp_error_sum *sums)
{
    const int32_t step = FXP_APART_W(s, s->ci);
    FXP_ROM fxp_param *w = weights + taps->w_at;
    fxp_error_sum *row = sums + taps->x_at;
    int32_t kh, kw;
    for (kh = 0; kh < taps->rows; kh++) {
        fxp_error_sum *to = row;
        for (kw = 0; kw < taps->columns; kw++) {
            *to += e * w[kw];
            to += step;
        }
        row += taps->x_row;
        w += s->kw;
    }
}

void fxp_depthwise_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const int32_t count = s->kh * s->kw;
    int32_t oh, ow, c, element = 0;
#if FXP_ERROR_DOTS
    if (fxp_depthwise_error_lanes(pass, sums)) {
        return;
    }
#endif
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            fxp_taps taps = fxp_taps_at(s, fxp_input_position(s, oh, ow, 0));
            for (c = 0; c < s->co; c++) {
                const fxp_error_sum e = pass->error[element];
                if (e != 0) {
                    if (pass->winners != NULL) {
                        taps = fxp_taps_at(s, fxp_input_position(s, oh, ow, pass->winners[element]));
                    }
                    hand_back(s, &taps, pass->weights + c * count, e, sums + c);
                }
                element++;
            }
        }
    }
}

#endif

#if FXP_TRAINING && FXP_GRADIENT_DEPTHWISE

/* The error of one channel meets the inputs under the taps inside. */
static void meet(const fxp_stage *s, const fxp_taps *taps, const fxp_value *x, fxp_gradient_sum e, fxp_gradient_sum *sums)
{
    const int32_t step = FXP_APART_W(s, s->ci);
    const fxp_value *row = x + taps->x_at;
    fxp_gradient_sum *to = sums + taps->w_at;
    int32_t kh, kw;
    for (kh = 0; kh < taps->rows; kh++) {
        const fxp_value *from = row;
        for (kw = 0; kw < taps->columns; kw++) {
            to[kw] += e * *from;
            from += step;
        }
        row += taps->x_row;
        to += s->kw;
    }
}

void fxp_depthwise_weight_gradient(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, element = c;
#if FXP_HELIUM && (FXP_ERROR_BITS <= 8) && FXP_GRADIENT_LANES
    if (fxp_depthwise_gradient_lanes(pass, c, sums)) {
        return;
    }
#endif
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            const fxp_gradient_sum e = pass->error[element];
            if (e != 0) {
                const int32_t t = (pass->winners == NULL) ? 0 : pass->winners[element];
                const fxp_taps taps = fxp_taps_at(s, fxp_input_position(s, oh, ow, t));
                meet(s, &taps, pass->x + c, e, sums);
            }
            element += s->co;
        }
    }
}

#endif
