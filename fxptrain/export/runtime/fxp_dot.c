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

#endif
