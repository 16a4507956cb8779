#include "fxp_depthwise.h"

#include "fxp_dot.h"
#include "fxp_packed.h"
#include "fxp_quick.h"

#if FXP_USE_DEPTHWISE

fxp_fracs fxp_depthwise_fracs(const fxp_model *model, const fxp_stage *stage)
{
    return fxp_weighted_fracs(model, stage);
}

/* Sum of one channel over the kernel's taps inside the input. */
static fxp_forward_sum sum_of(const fxp_forward *pass, FXP_ROM fxp_param *weights, int32_t c, fxp_position at)
{
    const fxp_stage *s = pass->stage;
    const fxp_range rows = fxp_rows_inside(s, at);
    const fxp_range columns = fxp_columns_inside(s, at);
    fxp_forward_sum sum = 0;
    int32_t kh, kw;
    for (kh = rows.first; kh < rows.last; kh++) {
        FXP_ROM fxp_param *w = weights + (c * s->kh + kh) * s->kw;
        for (kw = columns.first; kw < columns.last; kw++) {
            sum += (fxp_forward_sum)pass->x[fxp_input_at(s, at, kh, kw) + c] * w[kw];
        }
    }
    return sum;
}

static void finish_channel(const fxp_forward *pass, FXP_ROM fxp_param *weights, int32_t oh, int32_t ow, int32_t c)
{
    const fxp_stage *s = pass->stage;
    const int32_t at = (oh * s->ow + ow) * s->co + c;
    fxp_forward_sum best = sum_of(pass, weights, c, fxp_input_position(s, oh, ow, 0));
    int32_t t, winner = 0;
    for (t = 1; t < s->pool_h * s->pool_w; t++) {
        const fxp_forward_sum sum = sum_of(pass, weights, c, fxp_input_position(s, oh, ow, t));
        if (sum > best) {
            best = sum;
            winner = t;
        }
    }
    fxp_finish(pass, best, c, at);
    if (pass->winners != NULL) {
        pass->winners[at] = (uint8_t)winner;
    }
}

/* A row of two or three taps of a kernel that is three wide. */
static inline fxp_forward_sum in_row(const fxp_value *x, FXP_ROM fxp_param *w, int32_t step, int32_t columns)
{
    fxp_forward_sum sum = (fxp_forward_sum)x[0] * w[0] + (fxp_forward_sum)x[step] * w[1];
    if (columns == 3) {
        sum += (fxp_forward_sum)x[2 * step] * w[2];
    }
    return sum;
}

/* All channels at one position with so many rows and columns of a 3 x 3 kernel inside: constants where this is inlined. */
FXP_INLINE void three_by_three(const fxp_forward *pass, fxp_quick quick, FXP_ROM fxp_param *w, const fxp_value *x,
                               int32_t row, int32_t at, int32_t rows, int32_t columns)
{
    const int32_t step = FXP_APART_W(pass->stage, pass->stage->ci), channels = pass->stage->co;
    fxp_value *y = pass->y;
    int32_t c;
    for (c = 0; c < channels; c++) {
        fxp_forward_sum sum = fxp_quick_start(quick, c);
        sum += in_row(x, w, step, columns);
        sum += in_row(x + row, w + 3, step, columns);
        if (rows == 3) {
            sum += in_row(x + 2 * row, w + 6, step, columns);
        }
        fxp_end(pass, quick, y, sum, c, at + c);
        x++;
        w += 9;
    }
}

static fxp_forward_sum some(const fxp_value *x, FXP_ROM fxp_param *w, const fxp_taps *taps, const fxp_stage *s)
{
    fxp_forward_sum sum = 0;
    int32_t kh, kw;
    for (kh = 0; kh < taps->rows; kh++) {
        const fxp_value *from = x;
        for (kw = 0; kw < taps->columns; kw++) {
            sum += (fxp_forward_sum)*from * w[kw];
            from += FXP_APART_W(s, s->ci);
        }
        x += taps->x_row;
        w += s->kw;
    }
    return sum;
}

/* All channels at one position, without pooling: where the taps are is found once. */
static void finish_position(const fxp_forward *pass, fxp_quick quick, FXP_ROM fxp_param *weights, int32_t oh, int32_t ow)
{
    const fxp_stage *s = pass->stage;
    const fxp_taps taps = fxp_taps_at(s, fxp_input_position(s, oh, ow, 0));
    const int32_t at = (oh * s->ow + ow) * s->co, count = s->kh * s->kw, row = taps.x_row;
    const fxp_value *x = pass->x + taps.x_at;
    FXP_ROM fxp_param *w = weights + taps.w_at;
    int32_t c;
    switch (((s->kh == 3) && (s->kw == 3)) ? (10 * taps.rows + taps.columns) : 0) {
    case 33:
        three_by_three(pass, quick, w, x, row, at, 3, 3);
        break;
    case 32:
        three_by_three(pass, quick, w, x, row, at, 3, 2);
        break;
    case 23:
        three_by_three(pass, quick, w, x, row, at, 2, 3);
        break;
    case 22:
        three_by_three(pass, quick, w, x, row, at, 2, 2);
        break;
    default:
        for (c = 0; c < s->co; c++) {
            fxp_end(pass, quick, pass->y, fxp_quick_start(quick, c) + some(x + c, w + c * count, &taps, s), c, at + c);
        }
        break;
    }
}

void fxp_depthwise_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    FXP_ROM fxp_param *weights = pass->weights;
    const int32_t is_pooled = s->pool_h * s->pool_w > 1;
    const fxp_quick quick = fxp_quick_of(pass, s->kh * s->kw);
    int32_t oh, ow, c;
#if FXP_PACKED
    if (weights == NULL) { /* all of them: they are few */
        fxp_unpack_weights(s->weights, 0, s->co, s->taps, pass->panel);
        weights = pass->panel;
    }
#endif
#if FXP_HELIUM
    if (!is_pooled && (s->taps <= FXP_LANE_TAPS)) {
        fxp_depthwise_lanes(pass, &quick, weights);
        return;
    }
#endif
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            for (c = 0; (c < s->co) && is_pooled; c++) {
                finish_channel(pass, weights, oh, ow, c);
            }
            if (!is_pooled) {
                finish_position(pass, quick, weights, oh, ow);
            }
        }
    }
}

#endif
