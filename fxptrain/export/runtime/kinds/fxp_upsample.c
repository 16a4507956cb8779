#include "fxp_upsample.h"

#if FXP_USE_UPSAMPLE

fxp_fracs fxp_upsample_fracs(const fxp_model *model, const fxp_stage *stage)
{
    return fxp_fracs_at(fxp_x_frac(model, stage, 0), FXP_NO_FINEST, 0);
}

/* Where the value of output `at` comes from. */
static inline int32_t source_of(const fxp_stage *s, int32_t at)
{
    const int32_t c = at % s->co, place = at / s->co;
    return ((place / s->ow / s->kh) * s->w + place % s->ow / s->kw) * s->ci + c;
}

void fxp_upsample_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    const int32_t count = s->oh * s->ow * s->co;
    int32_t at;
    for (at = 0; at < count; at++) {
        pass->y[at] = pass->x[source_of(s, at)];
    }
}

#if FXP_TRAINING && FXP_BACK_UPSAMPLE

void fxp_upsample_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const int32_t count = s->oh * s->ow * s->co;
    int32_t at;
    for (at = 0; at < count; at++) {
        sums[source_of(s, at)] += pass->error[at];
    }
}

#endif

#endif
