#include "fxp_stage.h"

fxp_fracs fxp_weighted_fracs(const fxp_model *model, const fxp_stage *stage)
{
    const int32_t frac_x = fxp_x_frac(model, stage, 0), frac_w = model->forms[stage->w_form].frac;
    return fxp_fracs_at(frac_w + ((frac_x > 0) ? frac_x : 0), frac_w + frac_x, frac_w);
}

void fxp_finish(const fxp_forward *pass, fxp_forward_sum best, int32_t c, int32_t at)
{
    int64_t sum = best;
    if (pass->lift > 0) {
        sum = fxp_shift_left(sum, pass->lift);
    }
    if (pass->bias != NULL) {
        sum += (pass->bias_shift > 30) ? fxp_shift_left(pass->bias[c], pass->bias_shift)
                                       : ((int64_t)pass->bias[c] * ((int32_t)1 << pass->bias_shift));
    }
    sum = fxp_activated(pass, pass->stage, sum);
    pass->y[at] = (fxp_value)fxp_requantize(pass->site, sum, pass->first + (uint32_t)at);
}

fxp_position fxp_window_entry(int32_t t, int32_t pool_w)
{
    fxp_position entry;
    entry.h = t / pool_w;
    entry.w = t % pool_w;
    return entry;
}

int32_t fxp_window_at(const fxp_stage *stage, int32_t oh, int32_t ow, int32_t c, int32_t t)
{
    const fxp_position entry = fxp_window_entry(t, stage->kw);
    const int32_t h = oh * stage->sh - stage->pad_h + entry.h, w = ow * stage->sw - stage->pad_w + entry.w;
    return (h * stage->w + w) * stage->ci + c;
}
