#include "fxp_stage.h"

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
    if (pass->stage->relu && (sum < 0)) {
        sum = 0;
    }
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

fxp_range fxp_inside(int32_t position, int32_t size, int32_t extent)
{
    fxp_range range;
    range.first = (position < 0) ? -position : 0;
    range.last = (position + size > extent) ? (extent - position) : size;
    return range;
}

#if FXP_TRAINING

void fxp_finish_error(const fxp_backward *pass, const fxp_error_sum *sums, fxp_site *site, uint32_t first,
                      uint64_t *largest, fxp_error *out)
{
    const fxp_stage *stage = pass->stage;
    const int32_t count = stage->h * stage->w * stage->ci;
#if FXP_SATURATION_MASK
    const int64_t low = stage->producer_relu ? 0 : FXP_MIN_RAW(FXP_VALUE_BITS);
    const int64_t high = FXP_MAX_RAW(FXP_VALUE_BITS);
#else
    const int64_t low = stage->producer_relu ? 0 : INT64_MIN;
    const int64_t high = INT64_MAX;
#endif
    int32_t i;
    for (i = 0; i < count; i++) {
        const int64_t sum = ((pass->x[i] > low) && (pass->x[i] < high)) ? sums[i] : 0;
        const uint64_t size = (sum < 0) ? (uint64_t)-sum : (uint64_t)sum;
        *largest = (size > *largest) ? size : *largest;
        if (out != NULL) { /* zero rounds to zero whatever the draw */
            out[i] = (fxp_error)((sum == 0) ? 0 : fxp_requantize(site, sum, first + (uint32_t)i));
        }
    }
}

#endif
