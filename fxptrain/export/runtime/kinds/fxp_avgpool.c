#include "fxp_avgpool.h"

#if FXP_USE_AVGPOOL

fxp_fracs fxp_avgpool_fracs(const fxp_model *model, const fxp_stage *stage)
{
    return fxp_fracs_at(fxp_x_frac(model, stage, 0) + stage->mean.shift, FXP_NO_FINEST, stage->mean.shift);
}

/* Sum of a window of one channel; |x| < 2^31, and a window has fewer than 2^31 entries. */
static int64_t window_sum(const fxp_stage *s, const fxp_value *x)
{
    const int32_t ci = s->ci, kh = s->kh, kw = s->kw, row = s->w * ci;
#if FXP_VALUE_BITS <= 8
    int32_t sum = 0; /* of fewer than 2^24 entries */
#else
    int64_t sum = 0;
#endif
    int32_t i, j;
    for (i = 0; i < kh; i++) {
        const fxp_value *from = x;
        for (j = 0; j < kw; j++) {
            sum += *from;
            from += ci;
        }
        x += row;
    }
    return sum;
}

void fxp_avgpool_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, c, at = 0;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            for (c = 0; c < s->co; c++, at++) {
                const int64_t whole = window_sum(s, pass->x + fxp_window_at(s, oh, ow, c, 0));
                const int64_t sum = fxp_activated(pass, s, whole * s->mean.mantissa);
                pass->y[at] = (fxp_value)fxp_requantize(pass->site, sum, pass->first + (uint32_t)at);
            }
        }
    }
}

#if FXP_TRAINING && FXP_BACK_AVGPOOL

void fxp_avgpool_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, c, t, at = 0;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            for (c = 0; c < s->co; c++, at++) {
                const fxp_error_sum part = (fxp_error_sum)pass->error[at] * s->mean.mantissa;
                for (t = 0; t < s->kh * s->kw; t++) {
                    sums[fxp_window_at(s, oh, ow, c, t)] += part;
                }
            }
        }
    }
}

#endif

#endif
