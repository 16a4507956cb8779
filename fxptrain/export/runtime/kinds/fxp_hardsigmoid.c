#include "fxp_hardsigmoid.h"

#include "fxp_curve.h"

#if FXP_USE_HARDSIGMOID

fxp_fracs fxp_hardsigmoid_fracs(const fxp_model *model, const fxp_stage *stage)
{
    (void)model;
    (void)stage;
    return fxp_curve_fracs();
}

static int64_t value_of(const fxp_stage *s, int64_t u)
{
    const int64_t end = (int64_t)16 << FXP_CURVE_GRID;
    const int64_t inside = (u > end) ? end : ((u < -end) ? -end : u);
    const int64_t rise = (s->mean.shift > 0) ? fxp_shift_right(inside * s->mean.shift, FXP_CURVE_GRID)
                                             : fxp_curve_quotient(inside * 4, 6);
    const int64_t value = rise + FXP_CURVE_ONE / 2;
    return (value < 0) ? 0 : ((value > FXP_CURVE_ONE) ? FXP_CURVE_ONE : value);
}

#if FXP_TRAINING && FXP_BACK_HARDSIGMOID

static int64_t slope_of(const fxp_stage *s, int64_t u)
{
    const int64_t value = value_of(s, u), half = (int64_t)1 << (FXP_CURVE_SUM - FXP_CURVE_SLOPE - 1);
    const int64_t sixth = (((int64_t)1 << FXP_CURVE_SLOPE) + 3) / 6;
    const int64_t slope = (s->mean.shift > 0) ? ((s->mean.shift + half) >> (FXP_CURVE_SUM - FXP_CURVE_SLOPE)) : sixth;
    return ((value > 0) && (value < FXP_CURVE_ONE)) ? slope : 0;
}

#endif

void fxp_hardsigmoid_forward(const fxp_forward *pass)
{
    fxp_curve_values(pass, value_of);
}

#if FXP_TRAINING && FXP_BACK_HARDSIGMOID

void fxp_hardsigmoid_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    fxp_curve_errors(pass, slope_of, sums);
}

#endif

#endif
