#include "fxp_concat.h"

#if FXP_USE_CONCAT

fxp_fracs fxp_concat_fracs(const fxp_model *model, const fxp_stage *stage)
{
    int32_t k, finest = fxp_x_frac(model, stage, 0);
    for (k = 1; k < stage->inputs; k++) {
        const int32_t frac = fxp_x_frac(model, stage, k);
        finest = (frac > finest) ? frac : finest;
    }
    return fxp_fracs_at(finest, finest, 0);
}

/* Channels of an input. */
static int32_t channels_of(const fxp_stage *s, int32_t k)
{
    return fxp_input_of(s, k)->elements / (s->oh * s->ow);
}

void fxp_concat_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    const int32_t finest = fxp_concat_fracs(pass->model, s).frac;
    int32_t k, place, c, first = 0;
    for (k = 0; k < s->inputs; k++) {
        const int32_t channels = channels_of(s, k), lift = finest - fxp_x_frac(pass->model, s, k);
        const fxp_value *x = pass->xs[k];
        for (place = 0; place < s->oh * s->ow; place++) {
            for (c = 0; c < channels; c++) {
                const int32_t at = place * s->co + first + c;
                const int64_t sum = fxp_activated(pass, s, fxp_lifted(x[place * channels + c], lift));
                pass->y[at] = (fxp_value)fxp_requantize(pass->site, sum, pass->first + (uint32_t)at);
            }
        }
        first += channels;
    }
}

#if FXP_TRAINING && FXP_BACK_CONCAT

void fxp_concat_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const int32_t channels = channels_of(s, pass->slot);
    int32_t k, place, c, first = 0;
    for (k = 0; k < pass->slot; k++) {
        first += channels_of(s, k);
    }
    for (place = 0; place < s->oh * s->ow; place++) {
        for (c = 0; c < channels; c++) {
            sums[place * channels + c] += pass->error[place * s->co + first + c];
        }
    }
}

#endif

#endif
