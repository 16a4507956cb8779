#include "fxp_dot.h"

#ifdef FXP_SHORT

void fxp_dot_1x2(const fxp_value *x, FXP_ROM fxp_param *w0, FXP_ROM fxp_param *w1, int32_t count, fxp_forward_sum *sums)
{
    fxp_forward_sum s0 = sums[0], s1 = sums[1];
    int32_t k;
    for (k = 0; k < count; k++) {
        const fxp_forward_sum a = x[k];
        s0 += a * w0[k];
        s1 += a * w1[k];
    }
    sums[0] = s0;
    sums[1] = s1;
}

#endif

#ifdef FXP_THREE

void fxp_dot_2x3(const fxp_value *x0, const fxp_value *x1, FXP_ROM fxp_param *w0, int32_t count, const int32_t start[3],
                 fxp_forward_sum sums[6])
{
    FXP_ROM fxp_param *w1 = w0 + count;
    FXP_ROM fxp_param *w2 = w1 + count;
    fxp_forward_sum s00 = start[0], s01 = start[1], s02 = start[2], s10 = s00, s11 = s01, s12 = s02;
    int32_t left = count;
#define FXP_STEP(at)                                                           \
    {                                                                          \
        const fxp_forward_sum a0 = x0[at], a1 = x1[at];                        \
        const fxp_forward_sum b0 = w0[at], b1 = w1[at], b2 = w2[at];           \
        s00 += a0 * b0;                                                        \
        s01 += a0 * b1;                                                        \
        s02 += a0 * b2;                                                        \
        s10 += a1 * b0;                                                        \
        s11 += a1 * b1;                                                        \
        s12 += a1 * b2;                                                        \
    }
    for (; left >= 16; left -= 16) {
        FXP_STEP(0)
        FXP_STEP(1)
        FXP_STEP(2)
        FXP_STEP(3)
        FXP_STEP(4)
        FXP_STEP(5)
        FXP_STEP(6)
        FXP_STEP(7)
        FXP_STEP(8)
        FXP_STEP(9)
        FXP_STEP(10)
        FXP_STEP(11)
        FXP_STEP(12)
        FXP_STEP(13)
        FXP_STEP(14)
        FXP_STEP(15)
        x0 += 16;
        x1 += 16;
        w0 += 16;
        w1 += 16;
        w2 += 16;
    }
    for (; left > 0; left--) {
        FXP_STEP(0)
        x0++;
        x1++;
        w0++;
        w1++;
        w2++;
    }
#undef FXP_STEP
    sums[0] = s00;
    sums[1] = s01;
    sums[2] = s02;
    sums[3] = s10;
    sums[4] = s11;
    sums[5] = s12;
}

#endif

#if FXP_TRAINING && !FXP_BACK_LANES && !FXP_RVV_BACK /* those are in fxp_vector_back.c and fxp_dot_rvv.c */

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

void fxp_add_channels(fxp_error_sum *sums, const fxp_channels *from, int32_t at, int32_t count)
{
    const fxp_error_sum e0 = from->of[0], e1 = from->of[1], e2 = from->of[2], e3 = from->of[3];
    FXP_ROM fxp_param *w0 = from->w[0] + at;
    FXP_ROM fxp_param *w1, *w2, *w3;
    int32_t left;
    if (from->count < FXP_TOGETHER) {
        for (left = 0; left < from->count; left++) {
            fxp_add_weights(sums, from->w[left] + at, from->of[left], count);
        }
        return;
    }
    w1 = from->w[1] + at;
    w2 = from->w[2] + at;
    w3 = from->w[3] + at;
    for (left = count; left > 0; left--) {
        *sums++ += e0 * *w0++ + e1 * *w1++ + e2 * *w2++ + e3 * *w3++;
    }
}

#endif

#if FXP_TRAINING && !FXP_GRADIENT_LANES && !FXP_RVV_BACK

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

void fxp_add_positions(fxp_gradient_sum *sums, const fxp_positions *from, int32_t at, int32_t count)
{
    const fxp_gradient_sum e0 = from->of[0], e1 = from->of[1], e2 = from->of[2], e3 = from->of[3];
    const fxp_value *x0 = from->x[0] + at;
    const fxp_value *x1, *x2, *x3;
    int32_t left;
    if (from->count < FXP_TOGETHER) {
        for (left = 0; left < from->count; left++) {
            fxp_add_inputs(sums, from->x[left] + at, from->of[left], count);
        }
        return;
    }
    x1 = from->x[1] + at;
    x2 = from->x[2] + at;
    x3 = from->x[3] + at;
    for (left = count; left > 0; left--) {
        *sums++ += e0 * *x0++ + e1 * *x1++ + e2 * *x2++ + e3 * *x3++;
    }
}

#endif
