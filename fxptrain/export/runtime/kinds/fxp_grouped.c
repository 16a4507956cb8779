#include "fxp_grouped.h"

#include "fxp_dot.h"
#include "fxp_packed.h"
#include "fxp_quick.h"

#if FXP_USE_GROUPED

fxp_fracs fxp_grouped_fracs(const fxp_model *model, const fxp_stage *stage)
{
    return fxp_weighted_fracs(model, stage);
}

/* Input channels of a group, and the first one that output `c` reads. */
static inline int32_t inner_of(const fxp_stage *s)
{
    return s->taps / (s->kh * s->kw);
}

static inline int32_t first_of(const fxp_stage *s, int32_t inner, int32_t c)
{
    return c / (s->co / (s->ci / inner)) * inner;
}

/* `start` and the products of the taps inside the input, of a kernel whose first tap is at `at`; `x` is the first channel's. */
static fxp_forward_sum sum_of(const fxp_stage *s, const fxp_value *x, FXP_ROM fxp_param *weights, int32_t inner,
                              fxp_position at, int32_t start)
{
    const fxp_range rows = fxp_rows_inside(s, at);
    const fxp_range columns = fxp_columns_inside(s, at);
    fxp_forward_sum sum = start;
    int32_t kh, kw, i;
    for (kh = rows.first; kh < rows.last; kh++) {
        for (kw = columns.first; kw < columns.last; kw++) {
            const fxp_value *from = x + fxp_input_at(s, at, kh, kw);
            FXP_ROM fxp_param *w = weights + (kh * s->kw + kw) * inner;
            for (i = 0; i < inner; i++) {
                sum += (fxp_forward_sum)from[i] * w[i];
            }
        }
    }
    return sum;
}

/* Output channels first <= c < last, whose weights begin at `weights`. */
static void forward_panel(const fxp_forward *pass, FXP_ROM fxp_param *weights, int32_t first, int32_t last)
{
    const fxp_stage *s = pass->stage;
    const int32_t inner = inner_of(s), positions = s->oh * s->ow;
    const fxp_quick quick = fxp_quick_of(pass, s->taps);
    int32_t place, c, t;
    for (place = 0; place < positions; place++) {
        for (c = first; c < last; c++) {
            FXP_ROM fxp_param *w = weights + (c - first) * s->taps;
            const fxp_value *x = pass->x + first_of(s, inner, c);
            const int32_t oh = place / s->ow, ow = place % s->ow, start = fxp_quick_start(quick, c);
            fxp_forward_sum best = sum_of(s, x, w, inner, fxp_input_position(s, oh, ow, 0), start);
            int32_t winner = 0;
            for (t = 1; t < s->pool_h * s->pool_w; t++) {
                const fxp_forward_sum sum = sum_of(s, x, w, inner, fxp_input_position(s, oh, ow, t), start);
                if (sum > best) { /* the first on ties */
                    best = sum;
                    winner = t;
                }
            }
            fxp_end(pass, quick, pass->y, best, c, place * s->co + c);
            if (pass->winners != NULL) {
                pass->winners[place * s->co + c] = (uint8_t)winner;
            }
        }
    }
}

void fxp_grouped_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
#if FXP_PACKED
    if (pass->weights == NULL) { /* a group's weights are unpacked once a sample */
        int32_t c;
        for (c = 0; c < s->co; c += s->panel) {
            fxp_unpack_weights(s->weights, c, s->panel, s->taps, pass->panel);
            forward_panel(pass, pass->panel, c, c + s->panel);
        }
        return;
    }
#endif
    forward_panel(pass, pass->weights, 0, s->co);
}

#if FXP_TRAINING && (FXP_BACK_GROUPED || FXP_GRADIENT_GROUPED)

/* Where the kernel lay that gave output `element`. */
static fxp_position seen_at(const fxp_backward *pass, int32_t element)
{
    const fxp_stage *s = pass->stage;
    const int32_t place = element / s->co;
    return fxp_input_position(s, place / s->ow, place % s->ow, (pass->winners == NULL) ? 0 : pass->winners[element]);
}

#endif

#if FXP_TRAINING && FXP_BACK_GROUPED

void fxp_grouped_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const int32_t count = s->oh * s->ow * s->co, inner = inner_of(s);
    int32_t element, kh, kw;
    for (element = 0; element < count; element++) {
        if (pass->error[element] != 0) {
            const int32_t c = element % s->co;
            const fxp_position at = seen_at(pass, element);
            const fxp_range rows = fxp_rows_inside(s, at);
            const fxp_range columns = fxp_columns_inside(s, at);
            fxp_error_sum *own = sums + first_of(s, inner, c);
            FXP_ROM fxp_param *w = pass->weights + c * s->taps;
            for (kh = rows.first; kh < rows.last; kh++) {
                for (kw = columns.first; kw < columns.last; kw++) {
                    fxp_add_weights(own + fxp_input_at(s, at, kh, kw), w + (kh * s->kw + kw) * inner, pass->error[element],
                                    inner);
                }
            }
        }
    }
}

#endif

#if FXP_TRAINING && FXP_GRADIENT_GROUPED

void fxp_grouped_weight_gradient(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const int32_t inner = inner_of(s);
    const fxp_value *x = pass->x + first_of(s, inner, c);
    int32_t element, kh, kw;
    for (element = c; element < s->oh * s->ow * s->co; element += s->co) {
        if (pass->error[element] != 0) {
            const fxp_position at = seen_at(pass, element);
            const fxp_range rows = fxp_rows_inside(s, at);
            const fxp_range columns = fxp_columns_inside(s, at);
            for (kh = rows.first; kh < rows.last; kh++) {
                for (kw = columns.first; kw < columns.last; kw++) {
                    fxp_add_inputs(sums + (kh * s->kw + kw) * inner, x + fxp_input_at(s, at, kh, kw), pass->error[element],
                                   inner);
                }
            }
        }
    }
}

#endif

#endif
