/* What training begins with: parameters and momentum as exported, copied into the arena. */
#include "fxp_model.h"
#include "fxp_packed.h"
#include "fxp_some.h"

#if FXP_TRAINING

static void copy_params(fxp_param *to, FXP_ROM fxp_param *from, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++) {
        to[i] = from[i];
    }
}

static void copy_momentum(fxp_momentum *to, FXP_ROM fxp_momentum *from, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++) {
        to[i] = from[i];
    }
}

void fxp_copy_start(const fxp_model *model, int32_t i)
{
    const fxp_stage *s = &fxp_stages[i];
    const int32_t taps = s->taps;
    if (s->weights_at != FXP_NOWHERE) {
        fxp_param *weights = (fxp_param *)fxp_place(model, s->weights_at);
#if FXP_PACKED
        fxp_unpack_weights(s->weights, 0, s->co, taps, weights);
#else
        int32_t c;
        for (c = 0; c < s->co; c++) {
            const int32_t row = fxp_arena_row(s, c);
            if (row >= 0) {
                copy_params(weights + row * taps, s->weights + c * taps, taps);
            }
        }
#endif
    }
    if (fxp_trains_weights(s)) {
        fxp_momentum *momentum = (fxp_momentum *)fxp_place(model, s->weights_momentum_at);
#if FXP_PACKED
        fxp_unpack_momentum(s->weights_momentum_start, fxp_learning(s), taps, momentum);
#else
        copy_momentum(momentum, s->weights_momentum_start, taps * fxp_learning(s));
#endif
    }
    if (fxp_trains_bias(s)) {
        copy_params((fxp_param *)fxp_place(model, s->bias_at), s->bias, s->co);
        copy_momentum((fxp_momentum *)fxp_place(model, s->bias_momentum_at), s->bias_momentum_start, fxp_learning(s));
    }
}

#endif
