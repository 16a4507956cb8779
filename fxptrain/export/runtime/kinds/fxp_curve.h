/* What curves share: inputs on their grid, values rounded, errors times a slope. Twin of kernels/curves.py. */
#ifndef FXP_CURVE_H
#define FXP_CURVE_H

#include "fxp_stage.h"

#define FXP_CURVE_GRID 28  /* fractional bits of an input on the grid, */
#define FXP_CURVE_SUM 30   /* of a curve's value, */
#define FXP_CURVE_SLOPE 16 /* and of its slope */
#define FXP_CURVE_ONE ((int64_t)1 << FXP_CURVE_SUM)

static inline fxp_fracs fxp_curve_fracs(void)
{
    return fxp_fracs_at(FXP_CURVE_SUM, FXP_CURVE_SUM, FXP_CURVE_SLOPE);
}

/* A raw input with `frac` fractional bits, -12 to 30, on the grid; beyond 32 all curves are straight. */
static inline int64_t fxp_curve_input(fxp_value x, int32_t frac)
{
    const int64_t most = (frac > -5) ? ((int64_t)1 << (frac + 5)) : 1;
    const int64_t above = (x > most) ? most : x;
    return fxp_lifted((above < -most) ? -most : above, FXP_CURVE_GRID - frac);
}

/* Rounded down; the divisor is positive. */
static inline int64_t fxp_curve_quotient(int64_t value, int64_t by)
{
    const int64_t found = value / by;
    return ((value % by) < 0) ? (found - 1) : found;
}

/* A curve's value or its slope at an input on the grid. */
typedef int64_t fxp_curve(const fxp_stage *s, int64_t u);

FXP_INLINE void fxp_curve_values(const fxp_forward *pass, fxp_curve *value_of)
{
    const fxp_stage *s = pass->stage;
    const int32_t count = s->oh * s->ow * s->co, frac = fxp_x_frac(pass->model, s, 0);
    int32_t at;
    for (at = 0; at < count; at++) {
        const int64_t sum = value_of(s, fxp_curve_input(pass->x[at], frac));
        pass->y[at] = (fxp_value)fxp_requantize(pass->site, fxp_activated(pass, s, sum), pass->first + (uint32_t)at);
    }
}

#if FXP_TRAINING

FXP_INLINE void fxp_curve_errors(const fxp_backward *pass, fxp_curve *slope_of, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const int32_t count = s->oh * s->ow * s->co, frac = fxp_x_frac(pass->model, s, 0);
    int32_t at;
    for (at = 0; at < count; at++) {
        sums[at] += (fxp_error_sum)(pass->error[at] * slope_of(s, fxp_curve_input(pass->x[at], frac)));
    }
}

#endif

#endif
