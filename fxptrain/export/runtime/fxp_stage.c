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

fxp_position fxp_input_position(const fxp_stage *stage, int32_t oh, int32_t ow, int32_t t)
{
    fxp_position at = {0, 0};
    if (t > 0) {
        at = fxp_window_entry(t, stage->pool_w);
    }
    at.h = (oh * stage->pool_h + at.h) * stage->sh - stage->pad_h;
    at.w = (ow * stage->pool_w + at.w) * stage->sw - stage->pad_w;
    return at;
}

/* Taps inside an axis of `extent`, of a kernel of `size` taps at `position`, `apart` from each other. */
static inline fxp_range inside(int32_t position, int32_t size, int32_t extent, int32_t apart)
{
    const int32_t fit = (extent - position + apart - 1) / apart;
    fxp_range range;
    range.first = (position < 0) ? ((apart - 1 - position) / apart) : 0;
    range.last = (size > fit) ? fit : size;
    return range;
}

fxp_range fxp_rows_inside(const fxp_stage *stage, fxp_position at)
{
    return inside(at.h, stage->kh, stage->h, FXP_APART_H(stage, 1));
}

fxp_range fxp_columns_inside(const fxp_stage *stage, fxp_position at)
{
    return inside(at.w, stage->kw, stage->w, FXP_APART_W(stage, 1));
}

int32_t fxp_window_at(const fxp_stage *stage, int32_t oh, int32_t ow, int32_t c, int32_t t)
{
    const fxp_position entry = fxp_window_entry(t, stage->kw);
    return ((oh * stage->sh + entry.h) * stage->w + ow * stage->sw + entry.w) * stage->ci + c;
}
