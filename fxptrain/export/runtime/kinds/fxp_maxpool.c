#include "fxp_maxpool.h"

#if FXP_USE_MAXPOOL

fxp_fracs fxp_maxpool_fracs(const fxp_model *model, const fxp_stage *stage)
{
    return fxp_fracs_at(fxp_x_frac(model, stage, 0), FXP_NO_FINEST, 0);
}

void fxp_maxpool_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, c, t, at = 0;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            for (c = 0; c < s->co; c++, at++) {
                fxp_value best = pass->x[fxp_window_at(s, oh, ow, c, 0)];
                int32_t winner = 0;
                for (t = 1; t < s->kh * s->kw; t++) {
                    const fxp_value value = pass->x[fxp_window_at(s, oh, ow, c, t)];
                    if (value > best) {
                        best = value;
                        winner = t;
                    }
                }
                pass->y[at] = best;
                if (pass->winners != NULL) {
                    pass->winners[at] = (uint8_t)winner;
                }
            }
        }
    }
}

#if FXP_TRAINING && FXP_BACK_MAXPOOL

void fxp_maxpool_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, c, at = 0;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            for (c = 0; c < s->co; c++, at++) {
                sums[fxp_window_at(s, oh, ow, c, pass->winners[at])] += pass->error[at];
            }
        }
    }
}

#endif

#endif
