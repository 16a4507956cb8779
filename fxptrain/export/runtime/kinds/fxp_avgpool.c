#include "fxp_avgpool.h"

#if FXP_USE_AVGPOOL

fxp_sums fxp_avgpool_sums(const fxp_model *model, const fxp_stage *stage)
{
    return fxp_sums_at(fxp_x_frac(model, stage, 0) + stage->mean.shift, FXP_NO_FINEST, stage->mean.shift);
}

void fxp_avgpool_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, c, t, at = 0;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            for (c = 0; c < s->co; c++, at++) {
                int64_t sum = 0;
                for (t = 0; t < s->kh * s->kw; t++) {
                    sum += pass->x[fxp_window_at(s, oh, ow, c, t)];
                }
                sum = fxp_activated(s, sum * s->mean.mantissa);
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
