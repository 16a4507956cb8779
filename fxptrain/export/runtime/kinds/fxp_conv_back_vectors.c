/* The input error of a convolution of 1 x 1 with the vectors of Cortex-M55: the errors of a position lie side by side, and so do
 * the weights of one input channel once they are turned, some channels at a time. */
#include "fxp_conv.h"
#include "fxp_vectors.h"

#if FXP_TRAINING && FXP_BACK_CONV && FXP_ERROR_DOTS

#include <arm_mve.h>

#define FXP_TURNED 1024 /* bytes of weights */
#define FXP_FEW 16      /* for fewer positions turning costs more than it saves */

/* Weights (channel, co) of `count` input channels from `first` on. */
static void turn(const fxp_stage *s, const fxp_param *weights, int32_t first, int32_t count, fxp_param *turned)
{
    const uint32x4_t apart = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)s->ci);
    int32_t k, c;
    for (k = 0; k < count; k++) {
        for (c = 0; c < s->co; c += 4) {
            const mve_pred16_t lanes = vctp32q((uint32_t)(s->co - c));
            const int32x4_t four = vldrbq_gather_offset_z_s32(weights + c * s->ci + first + k, apart, lanes);
            vstrbq_p_s32(turned + k * s->co + c, four, lanes);
        }
    }
}

static inline void put(int32_t *sums, const int32_t *from, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(count - i));
        vstrwq_p_s32(sums + i, vaddq_s32(vldrwq_z_s32(sums + i, lanes), vldrwq_s32(from + i)), lanes);
    }
}

int32_t fxp_conv_error_dots(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const int32_t room = FXP_TURNED / s->co, block = (room < FXP_RUN) ? room : FXP_RUN;
    fxp_param turned[FXP_TURNED];
    int32_t k, oh, ow;
    if ((s->pool_h * s->pool_w > 1) || !fxp_conv_is_pointwise(s) || (s->oh * s->ow < FXP_FEW) || (block < 4) || (s->co < 8)) {
        return 0;
    }
    for (k = 0; k < s->ci; k += block) {
        const int32_t count = (s->ci - k < block) ? (s->ci - k) : block;
        const fxp_error *error = pass->error;
        turn(s, pass->weights, k, count, turned);
        for (oh = 0; oh < s->oh; oh++) {
            fxp_error_sum *to = sums + oh * s->sh * s->w * s->ci + k;
            for (ow = 0; ow < s->ow; ow += 2) {
                const int32_t more = (ow + 1 < s->ow) ? 1 : 0;
                fxp_run run;
                if (more) {
                    fxp_dots_two(error, error + s->co, turned, s->co, count, &run);
                    put(to + s->sw * s->ci, run.of[1], count);
                } else {
                    fxp_dots_one(error, turned, s->co, count, &run);
                }
                put(to, run.of[0], count);
                error += (1 + more) * s->co;
                to += 2 * s->sw * s->ci;
            }
        }
    }
    return 1;
}

#endif
