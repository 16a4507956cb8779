#include "fxp_avgpool.h"

#include "fxp_dot.h"

#if FXP_USE_AVGPOOL

#if FXP_HELIUM
#include <arm_mve.h>
#endif

fxp_fracs fxp_avgpool_fracs(const fxp_model *model, const fxp_stage *stage)
{
    return fxp_fracs_at(fxp_x_frac(model, stage, 0) + stage->mean.shift, FXP_NO_FINEST, stage->mean.shift);
}

/* The part of a window that lies on the input, and the multiplier for 1 / its size. */
typedef struct {
    fxp_range rows, columns;
    int32_t mantissa;
} part;

static part part_of(const fxp_stage *s, int32_t oh, int32_t ow)
{
    const fxp_position at = fxp_input_position(s, oh, ow, 0);
    part found;
    int32_t count;
    found.rows = fxp_rows_inside(s, at);
    found.columns = fxp_columns_inside(s, at);
    found.mantissa = s->mean.mantissa;
    count = (found.rows.last - found.rows.first) * (found.columns.last - found.columns.first);
    if (count != s->kh * s->kw) {
        found.mantissa = (int32_t)((((int64_t)2 << s->mean.shift) + count) / (2 * (int64_t)count));
    }
    return found;
}

/* Sums of a part of a window of channels `c` and following, whose first entry is `x`; |x| < 2^31, and it has fewer than 2^31
 * entries. */
#if FXP_HELIUM

#define FXP_ABREAST 4
typedef int32_t part_sum; /* of fewer than 2^24 entries */

static void part_sums(const fxp_stage *s, const part *p, const fxp_value *x, int32_t c, part_sum *sums)
{
    const int32_t columns = p->columns.last - p->columns.first;
    const mve_pred16_t lanes = vctp32q((uint32_t)(s->ci - c));
    int32x4_t sum = vdupq_n_s32(0);
    int32_t i, j;
    for (i = p->rows.first; i < p->rows.last; i++) {
        const fxp_value *from = x + c;
        for (j = 0; j < columns; j++) {
            sum = vaddq_s32(sum, vldrbq_z_s32(from, lanes));
            from += s->ci;
        }
        x += s->w * s->ci;
    }
    vstrwq_s32(sums, sum);
}

#else

#define FXP_ABREAST 1
#if FXP_VALUE_BITS <= 8
typedef int32_t part_sum; /* of fewer than 2^24 entries */
#else
typedef int64_t part_sum;
#endif

static void part_sums(const fxp_stage *s, const part *p, const fxp_value *x, int32_t c, part_sum *sums)
{
    const int32_t ci = s->ci, columns = p->columns.last - p->columns.first, row = s->w * ci;
    part_sum sum = 0;
    int32_t i, j;
    x += c;
    for (i = p->rows.first; i < p->rows.last; i++) {
        const fxp_value *from = x;
        for (j = 0; j < columns; j++) {
            sum += *from;
            from += ci;
        }
        x += row;
    }
    *sums = sum;
}

#endif

void fxp_avgpool_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    part_sum sums[FXP_ABREAST];
    int32_t oh, ow, c, at = 0;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            const part p = part_of(s, oh, ow);
            const int32_t first = fxp_window_at(s, oh, ow, 0, p.rows.first * s->kw + p.columns.first);
            for (c = 0; c < s->co; c++, at++) {
                int64_t sum;
                if (c % FXP_ABREAST == 0) {
                    part_sums(s, &p, pass->x + first, c, sums);
                }
                sum = fxp_activated(pass, s, (int64_t)sums[c % FXP_ABREAST] * p.mantissa);
                pass->y[at] = (fxp_value)fxp_requantize(pass->site, sum, pass->first + (uint32_t)at);
            }
        }
    }
}

#if FXP_TRAINING && FXP_BACK_AVGPOOL

void fxp_avgpool_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, c, i, j, at = 0;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            const part p = part_of(s, oh, ow);
            for (c = 0; c < s->co; c++, at++) {
                const fxp_error_sum share = (fxp_error_sum)pass->error[at] * p.mantissa;
                for (i = p.rows.first; i < p.rows.last; i++) {
                    for (j = p.columns.first; j < p.columns.last; j++) {
                        sums[fxp_window_at(s, oh, ow, c, i * s->kw + j)] += share;
                    }
                }
            }
        }
    }
}

#endif

#endif
