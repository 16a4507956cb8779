#include "fxp_dot.h"

#if !FXP_DSP

void fxp_dot_pair(const fxp_value *x, FXP_ROM fxp_param *w0, FXP_ROM fxp_param *w1, int32_t count, fxp_forward_sum sums[2])
{
    fxp_forward_sum s0 = 0, s1 = 0;
    int32_t left = count;
    for (; left >= 4; left -= 4) { /* unrolled: the loop's own instructions cost as much as a product */
        const fxp_forward_sum x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
        s0 += x0 * w0[0];
        s1 += x0 * w1[0];
        s0 += x1 * w0[1];
        s1 += x1 * w1[1];
        s0 += x2 * w0[2];
        s1 += x2 * w1[2];
        s0 += x3 * w0[3];
        s1 += x3 * w1[3];
        x += 4;
        w0 += 4;
        w1 += 4;
    }
    for (; left > 0; left--) {
        const fxp_forward_sum x0 = *x++;
        s0 += x0 * *w0++;
        s1 += x0 * *w1++;
    }
    sums[0] = s0;
    sums[1] = s1;
}

void fxp_dot_quad(const fxp_value *x0, const fxp_value *x1, FXP_ROM fxp_param *w0, FXP_ROM fxp_param *w1, int32_t count,
                  fxp_forward_sum sums[4])
{
    fxp_forward_sum s00 = 0, s01 = 0, s10 = 0, s11 = 0;
    int32_t i = 0;
#define FXP_STEP(at)                                                           \
    {                                                                          \
        const fxp_forward_sum a0 = x0[at], a1 = x1[at], b0 = w0[at], b1 = w1[at]; \
        s00 += a0 * b0;                                                        \
        s01 += a0 * b1;                                                        \
        s10 += a1 * b0;                                                        \
        s11 += a1 * b1;                                                        \
    }
    for (; i + 4 <= count; i += 4) {
        FXP_STEP(0)
        FXP_STEP(1)
        FXP_STEP(2)
        FXP_STEP(3)
        x0 += 4;
        x1 += 4;
        w0 += 4;
        w1 += 4;
    }
    for (; i < count; i++) {
        FXP_STEP(0)
        x0++;
        x1++;
        w0++;
        w1++;
    }
#undef FXP_STEP
    sums[0] = s00;
    sums[1] = s01;
    sums[2] = s10;
    sums[3] = s11;
}

#endif

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

#endif
