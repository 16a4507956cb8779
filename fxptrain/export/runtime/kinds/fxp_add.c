#include "fxp_add.h"

#if FXP_USE_ADD

fxp_fracs fxp_add_fracs(const fxp_model *model, const fxp_stage *stage)
{
    fxp_grid grid = fxp_grid_none();
    int32_t k, bits = FXP_VALUE_BITS - 1 + fxp_added_frac(stage), most = 1;
    for (; most <= stage->inputs; most *= 2) {
        bits++; /* of the bound of the sum, inputs * 2^(FXP_VALUE_BITS - 1), with what its function adds */
    }
    for (k = 0; k < stage->inputs; k++) {
        fxp_grid_add(&grid, fxp_x_frac(model, stage, k), FXP_SUM_BITS - bits);
    }
    return fxp_fracs_at(fxp_grid_frac(&grid), fxp_grid_frac(&grid), 0);
}

void fxp_add_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    const int32_t frac = fxp_add_fracs(pass->model, s).frac, count = s->oh * s->ow * s->co;
    int32_t lifts[FXP_MOST_INPUTS], k, at;
    for (k = 0; k < s->inputs; k++) {
        lifts[k] = frac - fxp_x_frac(pass->model, s, k);
    }
    for (at = 0; at < count; at++) {
        int64_t sum = 0;
        for (k = 0; k < s->inputs; k++) {
            sum += fxp_lifted(pass->xs[k][at], lifts[k]);
        }
        pass->y[at] = (fxp_value)fxp_requantize(pass->site, fxp_activated(pass, s, sum), pass->first + (uint32_t)at);
    }
}

#if FXP_TRAINING && FXP_BACK_ADD

void fxp_add_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const int32_t count = s->oh * s->ow * s->co;
    int32_t at;
    for (at = 0; at < count; at++) {
        sums[at] += pass->error[at];
    }
}

#endif

#endif
