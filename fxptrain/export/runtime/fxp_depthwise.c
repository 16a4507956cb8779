#include "fxp_depthwise.h"

#include "fxp_packed.h"

#if FXP_USE_DEPTHWISE

/* Sum of one channel over the kernel's taps inside the input. */
static fxp_forward_sum sum_of(const fxp_forward *pass, FXP_ROM fxp_param *weights, int32_t c, fxp_position at)
{
    const fxp_stage *s = pass->stage;
    const fxp_range rows = fxp_inside(at.h, s->kh, s->h);
    const fxp_range columns = fxp_inside(at.w, s->kw, s->w);
    fxp_forward_sum sum = 0;
    int32_t kh, kw;
    for (kh = rows.first; kh < rows.last; kh++) {
        FXP_ROM fxp_param *w = weights + (c * s->kh + kh) * s->kw;
        for (kw = columns.first; kw < columns.last; kw++) {
            sum += (fxp_forward_sum)pass->x[((at.h + kh) * s->w + at.w + kw) * s->ci + c] * w[kw];
        }
    }
    return sum;
}

static void finish_channel(const fxp_forward *pass, FXP_ROM fxp_param *weights, int32_t oh, int32_t ow, int32_t c)
{
    const fxp_stage *s = pass->stage;
    const int32_t at = (oh * s->ow + ow) * s->co + c;
    fxp_forward_sum best = sum_of(pass, weights, c, fxp_input_position(s, oh, ow, 0));
    int32_t t, winner = 0;
    for (t = 1; t < s->pool_h * s->pool_w; t++) {
        const fxp_forward_sum sum = sum_of(pass, weights, c, fxp_input_position(s, oh, ow, t));
        if (sum > best) {
            best = sum;
            winner = t;
        }
    }
    fxp_finish(pass, best, c, at);
    if (pass->winners != NULL) {
        pass->winners[at] = (uint8_t)winner;
    }
}

void fxp_depthwise_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    FXP_ROM fxp_param *weights = pass->weights;
    int32_t oh, ow, c;
#if FXP_PACKED
    if (weights == NULL) { /* all of them: they are few */
        fxp_unpack_weights(s->weights, 0, s->co, s->kh * s->kw, pass->panel);
        weights = pass->panel;
    }
#endif
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            for (c = 0; c < s->co; c++) {
                finish_channel(pass, weights, oh, ow, c);
            }
        }
    }
}

#if FXP_TRAINING && FXP_BACK_DEPTHWISE

void fxp_depthwise_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const int32_t count = s->oh * s->ow * s->co;
    int32_t element, kh, kw;
    for (element = 0; element < count; element++) {
        const fxp_error_sum e = pass->error[element];
        if (e != 0) {
            const int32_t c = element % s->co, place = element / s->co;
            const fxp_position at = fxp_input_position(s, place / s->ow, place % s->ow,
                                                       (pass->winners == NULL) ? 0 : pass->winners[element]);
            const fxp_range rows = fxp_inside(at.h, s->kh, s->h);
            const fxp_range columns = fxp_inside(at.w, s->kw, s->w);
            for (kh = rows.first; kh < rows.last; kh++) {
                for (kw = columns.first; kw < columns.last; kw++) {
                    sums[((at.h + kh) * s->w + at.w + kw) * s->ci + c] += e * pass->weights[(c * s->kh + kh) * s->kw + kw];
                }
            }
        }
    }
}

#endif

#if FXP_TRAINING && FXP_GRADIENT_DEPTHWISE

void fxp_depthwise_weight_gradient(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums)
{
    const fxp_stage *s = pass->stage;
    int32_t place, kh, kw;
    for (place = 0; place < s->oh * s->ow; place++) {
        const int32_t element = place * s->co + c;
        const fxp_gradient_sum e = pass->error[element];
        if (e != 0) {
            const fxp_position at = fxp_input_position(s, place / s->ow, place % s->ow,
                                                       (pass->winners == NULL) ? 0 : pass->winners[element]);
            const fxp_range rows = fxp_inside(at.h, s->kh, s->h);
            const fxp_range columns = fxp_inside(at.w, s->kw, s->w);
            for (kh = rows.first; kh < rows.last; kh++) {
                for (kw = columns.first; kw < columns.last; kw++) {
                    sums[kh * s->kw + kw] += e * pass->x[((at.h + kh) * s->w + at.w + kw) * s->ci + c];
                }
            }
        }
    }
}

#endif

#endif
