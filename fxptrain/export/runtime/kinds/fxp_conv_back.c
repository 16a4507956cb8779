/* The way back through a convolution: its input error and the gradient of its weights. */
#include <string.h>

#include "fxp_conv.h"
#include "fxp_dot.h"
#include "fxp_some.h"

#if FXP_TRAINING && FXP_BACK_CONV

/* Errors of up to four channels at one position go back through the taps inside. */
static void hand_back(const fxp_stage *s, fxp_channels *from, fxp_position at, fxp_error_sum *sums)
{
    const fxp_range rows = fxp_rows_inside(s, at);
    const fxp_range columns = fxp_columns_inside(s, at);
    const int32_t aside = fxp_taps_aside(s, columns);
    int32_t kh, kw;
    for (kh = rows.first; kh < rows.last; kh++) {
        for (kw = columns.first; kw < columns.last; kw += aside) {
            fxp_add_channels(sums + fxp_input_at(s, at, kh, kw), from, (kh * s->kw + kw) * s->ci, aside * s->ci);
        }
    }
    from->count = 0;
}

void fxp_conv_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const int32_t windows = s->pool_h * s->pool_w;
    int32_t oh, ow, t, c;
    fxp_channels from;
#if FXP_ERROR_DOTS
    if (fxp_conv_error_dots(pass, sums)) {
        return;
    }
#endif
    memset(&from, 0, sizeof from);
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            const int32_t first = (oh * s->ow + ow) * s->co;
            const fxp_error *error = pass->error + first;
            const uint8_t *winner = (pass->winners == NULL) ? NULL : (pass->winners + first);
            for (t = 0; t < windows; t++) {
                const fxp_position at = fxp_input_position(s, oh, ow, t);
                for (c = 0; c < s->co; c++) {
                    if ((error[c] != 0) && ((winner == NULL) || (winner[c] == t))) {
                        from.of[from.count] = error[c];
                        from.w[from.count] = fxp_channel_of(pass->model, s, pass->weights, c);
                        from.count++;
                        if (from.count == FXP_TOGETHER) {
                            hand_back(s, &from, at, sums);
                        }
                    }
                }
                if (from.count > 0) {
                    hand_back(s, &from, at, sums);
                }
            }
        }
    }
}

#endif

#if FXP_TRAINING && FXP_GRADIENT_CONV

/* Errors of up to four positions meet the inputs under the whole kernel. */
static void meet(const fxp_stage *s, fxp_positions *from, fxp_gradient_sum *sums)
{
    const fxp_position origin = {0, 0};
    const fxp_range columns = {0, s->kw};
    const int32_t aside = fxp_taps_aside(s, columns);
    int32_t kh, kw;
    for (kh = 0; kh < s->kh; kh++) {
        for (kw = 0; kw < s->kw; kw += aside) {
            fxp_add_positions(sums + (kh * s->kw + kw) * s->ci, from, fxp_input_at(s, origin, kh, kw), aside * s->ci);
        }
    }
    from->count = 0;
}

/* The error of one position meets the inputs under the taps inside. */
static void meet_inside(const fxp_backward *pass, fxp_error e, fxp_position at, fxp_gradient_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const fxp_range rows = fxp_rows_inside(s, at);
    const fxp_range columns = fxp_columns_inside(s, at);
    const int32_t aside = fxp_taps_aside(s, columns);
    int32_t kh, kw;
    for (kh = rows.first; kh < rows.last; kh++) {
        for (kw = columns.first; kw < columns.last; kw += aside) {
            fxp_add_inputs(sums + (kh * s->kw + kw) * s->ci, pass->x + fxp_input_at(s, at, kh, kw), e, aside * s->ci);
        }
    }
}

void fxp_conv_weight_gradient(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, element = c;
    fxp_positions from;
    memset(&from, 0, sizeof from);
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            const fxp_error e = pass->error[element];
            if (e != 0) {
                const fxp_position at = fxp_input_position(s, oh, ow, (pass->winners == NULL) ? 0 : pass->winners[element]);
                if (fxp_all_inside(s, at)) {
                    from.of[from.count] = e;
                    from.x[from.count] = pass->x + fxp_input_at(s, at, 0, 0);
                    from.count++;
                    if (from.count == FXP_TOGETHER) {
                        meet(s, &from, sums);
                    }
                } else {
                    meet_inside(pass, e, at, sums);
                }
            }
            element += s->co;
        }
    }
    if (from.count > 0) {
        meet(s, &from, sums);
    }
}

#endif
