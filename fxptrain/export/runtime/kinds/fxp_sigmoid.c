#include "fxp_sigmoid.h"

#include "fxp_curve.h"

#if FXP_USE_SIGMOID || (FXP_TRAINING && FXP_LEARNS_LABELS)

int64_t fxp_sigmoid_at(int64_t u)
{
    const int32_t entry = FXP_CURVE_GRID - 4;
    const int64_t size = (u < 0) ? -u : u;
    int64_t value = FXP_CURVE_ONE;
    if (size < ((int64_t)16 << FXP_CURVE_GRID)) {
        const int32_t k = (int32_t)(size >> entry);
        const int64_t r = size & (((int64_t)1 << entry) - 1);
        const int64_t p = fxp_sigmoids[k], q = fxp_sigmoids[k + 1], d = q - p;
        const int64_t m = (p * (FXP_CURVE_ONE - p)) >> (FXP_CURVE_SUM + 4);
        const int64_t n = (q * (FXP_CURVE_ONE - q)) >> (FXP_CURVE_SUM + 4);
        const int64_t cubic = fxp_shift_right((m + n - 2 * d) * r, entry);
        const int64_t square = fxp_shift_right((3 * d - 2 * m - n + cubic) * r, entry);
        value = p + fxp_shift_right((m + square) * r, entry);
    }
    return (u < 0) ? (FXP_CURVE_ONE - value) : value;
}

#endif

#if FXP_USE_SIGMOID

fxp_fracs fxp_sigmoid_fracs(const fxp_model *model, const fxp_stage *stage)
{
    (void)model;
    (void)stage;
    return fxp_curve_fracs();
}

static int64_t value_of(const fxp_stage *s, int64_t u)
{
    return (s->mean.shift == 1) ? (2 * fxp_sigmoid_at(2 * u) - FXP_CURVE_ONE) : fxp_sigmoid_at(u);
}

#if FXP_TRAINING && FXP_BACK_SIGMOID

static int64_t slope_of(const fxp_stage *s, int64_t u)
{
    const int32_t twice = s->mean.shift, drop = 2 * FXP_CURVE_SUM - FXP_CURVE_SLOPE - 2 * twice;
    const int64_t value = fxp_sigmoid_at(u * (1 + twice));
    return (value * (FXP_CURVE_ONE - value) + ((int64_t)1 << (drop - 1))) >> drop;
}

#endif

void fxp_sigmoid_forward(const fxp_forward *pass)
{
    fxp_curve_values(pass, value_of);
}

#if FXP_TRAINING && FXP_BACK_SIGMOID

void fxp_sigmoid_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    fxp_curve_errors(pass, slope_of, sums);
}

#endif

#endif
