/* What curves share: inputs on their grid, errors times a slope. Twin of kernels/curves.py. */
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

#endif
