#include "fxp_dropout.h"

#if FXP_USE_DROPOUT

fxp_fracs fxp_dropout_fracs(const fxp_model *model, const fxp_stage *stage)
{
    const int32_t frac = fxp_x_frac(model, stage, 0);
    return fxp_fracs_at(frac + stage->mean.shift, frac, stage->mean.shift);
}

#if FXP_TRAINING

/* The draws that tell what is dropped, and of 256 values how many are: the multiplier is 256 by those that are kept. */
static fxp_draws chances(const fxp_model *model, const fxp_stage *s)
{
    return fxp_draws_at(fxp_stream(s->layer, FXP_SITE_DROPOUT), model->step);
}

static uint32_t dropped_of(const fxp_stage *s)
{
    const uint32_t whole = (uint32_t)256 << s->mean.shift, by = (uint32_t)s->mean.mantissa;
    return 256u - (whole + by / 2u) / by;
}

#endif

void fxp_dropout_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    const int32_t count = s->oh * s->ow * s->co;
    int32_t at;
#if FXP_TRAINING
    const int32_t training = !pass->site->uncounted;
    const uint32_t dropped = dropped_of(s);
    fxp_draws draws = chances(pass->model, s);
#endif
    for (at = 0; at < count; at++) {
        int64_t factor = (int64_t)1 << s->mean.shift;
#if FXP_TRAINING
        if (training) {
            factor = ((fxp_draw(&draws, pass->first + (uint32_t)at) >> 24) < dropped) ? 0 : s->mean.mantissa;
        }
#endif
        pass->y[at] = (fxp_value)fxp_requantize(pass->site, fxp_activated(pass, s, pass->x[at] * factor),
                                                pass->first + (uint32_t)at);
    }
}

#if FXP_TRAINING && FXP_BACK_DROPOUT

void fxp_dropout_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const int32_t count = s->oh * s->ow * s->co;
    const uint32_t dropped = dropped_of(s);
    fxp_draws draws = chances(pass->model, s);
    int32_t at;
    for (at = 0; at < count; at++) {
        if ((fxp_draw(&draws, (uint32_t)(pass->sample * count + at)) >> 24) >= dropped) {
            sums[at] += (fxp_error_sum)pass->error[at] * s->mean.mantissa;
        }
    }
}

#endif

#endif
