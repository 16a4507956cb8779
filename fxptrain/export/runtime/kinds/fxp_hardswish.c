#include "fxp_hardswish.h"

#include "fxp_curve.h"

#if FXP_USE_HARDSWISH

fxp_fracs fxp_hardswish_fracs(const fxp_model *model, const fxp_stage *stage)
{
    (void)model;
    (void)stage;
    return fxp_curve_fracs();
}

#define THREE ((int64_t)3 << FXP_CURVE_GRID)

static int64_t curved(int64_t u)
{
    return (u <= -THREE) ? 0 : fxp_shift_right(fxp_curve_quotient(u * (u + THREE), 6), 2 * FXP_CURVE_GRID - FXP_CURVE_SUM);
}

#if FXP_TRAINING && FXP_BACK_HARDSWISH

static int64_t slope_of(const fxp_stage *s, int64_t u)
{
    const int64_t unit = (int64_t)6 << (FXP_CURVE_GRID - FXP_CURVE_SLOPE);
    (void)s;
    if (u >= THREE) {
        return (int64_t)1 << FXP_CURVE_SLOPE;
    }
    return (u <= -THREE) ? 0 : fxp_curve_quotient(2 * u + THREE + unit / 2, unit);
}

#endif

void fxp_hardswish_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    const int32_t count = s->oh * s->ow * s->co, frac = fxp_x_frac(pass->model, s, 0);
    int32_t at;
    for (at = 0; at < count; at++) {
        const int64_t u = fxp_curve_input(pass->x[at], frac);
        const int64_t sum = (u >= THREE) ? fxp_shift_left(pass->x[at], FXP_CURVE_SUM - frac) : curved(u);
        pass->y[at] = (fxp_value)fxp_requantize(pass->site, fxp_activated(pass, s, sum), pass->first + (uint32_t)at);
    }
}

#if FXP_TRAINING && FXP_BACK_HARDSWISH

void fxp_hardswish_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    fxp_curve_errors(pass, slope_of, sums);
}

#endif

#endif
