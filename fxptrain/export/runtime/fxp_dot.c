#include "fxp_dot.h"

#if FXP_TRAINING

void fxp_add_weights(fxp_error_sum *sums, FXP_ROM fxp_param *w, fxp_error error, int32_t count)
{
    const fxp_error_sum factor = error;
    int32_t left = count;
    for (; left >= 4; left -= 4) {
        sums[0] += factor * w[0];
        sums[1] += factor * w[1];
        sums[2] += factor * w[2];
        sums[3] += factor * w[3];
        sums += 4;
        w += 4;
    }
    for (; left > 0; left--) {
        *sums++ += factor * *w++;
    }
}

void fxp_add_inputs(fxp_gradient_sum *sums, const fxp_value *x, fxp_error error, int32_t count)
{
    const fxp_gradient_sum factor = error;
    int32_t left = count;
    for (; left >= 4; left -= 4) {
        sums[0] += factor * x[0];
        sums[1] += factor * x[1];
        sums[2] += factor * x[2];
        sums[3] += factor * x[3];
        sums += 4;
        x += 4;
    }
    for (; left > 0; left--) {
        *sums++ += factor * *x++;
    }
}

void fxp_add_channels(fxp_error_sum *sums, const fxp_channels *from, int32_t at, int32_t count)
{
    const fxp_error_sum e0 = from->of[0], e1 = from->of[1], e2 = from->of[2], e3 = from->of[3];
    FXP_ROM fxp_param *w0 = from->w[0] + at;
    FXP_ROM fxp_param *w1 = from->w[1] + at;
    FXP_ROM fxp_param *w2 = from->w[2] + at;
    FXP_ROM fxp_param *w3 = from->w[3] + at;
    int32_t left;
    if (from->count < FXP_TOGETHER) {
        for (left = 0; left < from->count; left++) {
            fxp_add_weights(sums, from->w[left] + at, from->of[left], count);
        }
        return;
    }
    for (left = count; left > 0; left--) {
        *sums++ += e0 * *w0++ + e1 * *w1++ + e2 * *w2++ + e3 * *w3++;
    }
}

void fxp_add_positions(fxp_gradient_sum *sums, const fxp_positions *from, int32_t at, int32_t count)
{
    const fxp_gradient_sum e0 = from->of[0], e1 = from->of[1], e2 = from->of[2], e3 = from->of[3];
    const fxp_value *x0 = from->x[0] + at;
    const fxp_value *x1 = from->x[1] + at;
    const fxp_value *x2 = from->x[2] + at;
    const fxp_value *x3 = from->x[3] + at;
    int32_t left;
    if (from->count < FXP_TOGETHER) {
        for (left = 0; left < from->count; left++) {
            fxp_add_inputs(sums, from->x[left] + at, from->of[left], count);
        }
        return;
    }
    for (left = count; left > 0; left--) {
        *sums++ += e0 * *x0++ + e1 * *x1++ + e2 * *x2++ + e3 * *x3++;
    }
}

#endif
