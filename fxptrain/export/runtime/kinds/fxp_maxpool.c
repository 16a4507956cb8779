#include "fxp_maxpool.h"

#if FXP_USE_MAXPOOL

fxp_fracs fxp_maxpool_fracs(const fxp_model *model, const fxp_stage *stage)
{
    return fxp_fracs_at(fxp_x_frac(model, stage, 0), FXP_NO_FINEST, 0);
}

void fxp_maxpool_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, c, at = 0;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            const fxp_position first = fxp_input_position(s, oh, ow, 0);
            const fxp_range rows = fxp_rows_inside(s, first), columns = fxp_columns_inside(s, first);
            for (c = 0; c < s->co; c++, at++) {
                int32_t winner = rows.first * s->kw + columns.first, i, j;
                fxp_value best = pass->x[fxp_window_at(s, oh, ow, c, winner)];
                for (i = rows.first; i < rows.last; i++) {
                    for (j = columns.first; j < columns.last; j++) {
                        const fxp_value value = pass->x[fxp_window_at(s, oh, ow, c, i * s->kw + j)];
                        if (value > best) {
                            best = value;
                            winner = i * s->kw + j;
                        }
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
