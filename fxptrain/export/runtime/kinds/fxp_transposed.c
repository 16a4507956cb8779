#include "fxp_transposed.h"

#include "fxp_dot.h"
#include "fxp_packed.h"
#include "fxp_quick.h"
#include "fxp_some.h"

#if FXP_USE_TRANSPOSED

fxp_fracs fxp_transposed_fracs(const fxp_model *model, const fxp_stage *stage)
{
    return fxp_weighted_fracs(model, stage);
}

/* Where the kernel lies for output (oh, ow), entry `t` of its pooling window, on the input with zeros between. */
static inline fxp_position spread_position(const fxp_stage *s, int32_t oh, int32_t ow, int32_t t)
{
    fxp_position at;
    at.h = oh * s->pool_h + t / s->pool_w - s->pad_h;
    at.w = ow * s->pool_w + t % s->pool_w - s->pad_w;
    return at;
}

/* The input that a place on the spread axis holds, of `count` that lie `apart`; -1 for a zero. */
static inline int32_t held(int32_t place, int32_t apart, int32_t count)
{
    return ((place >= 0) && (place % apart == 0) && (place / apart < count)) ? (place / apart) : -1;
}

/* Offset of the input under a tap; -1 where that is a zero. */
static inline int32_t input_under(const fxp_stage *s, fxp_position at, int32_t kh, int32_t kw)
{
    const int32_t h = held(at.h + FXP_APART_H(s, kh), s->sh, s->h), w = held(at.w + FXP_APART_W(s, kw), s->sw, s->w);
    return ((h < 0) || (w < 0)) ? -1 : ((h * s->w + w) * s->ci);
}

/* `start` and the products of the inputs under the kernel. */
static fxp_forward_sum sum_of(const fxp_stage *s, const fxp_value *x, FXP_ROM fxp_param *weights, fxp_position at,
                              int32_t start)
{
    fxp_forward_sum sum = start;
    int32_t kh, kw, i;
    for (kh = 0; kh < s->kh; kh++) {
        for (kw = 0; kw < s->kw; kw++) {
            const int32_t from = input_under(s, at, kh, kw);
            FXP_ROM fxp_param *w = weights + (kh * s->kw + kw) * s->ci;
            if (from >= 0) {
                for (i = 0; i < s->ci; i++) {
                    sum += (fxp_forward_sum)x[from + i] * w[i];
                }
            }
        }
    }
    return sum;
}

/* Output channels first <= c < last, whose weights begin at `weights`. */
static void forward_panel(const fxp_forward *pass, FXP_ROM fxp_param *weights, int32_t first, int32_t last)
{
    const fxp_stage *s = pass->stage;
    const int32_t positions = s->oh * s->ow;
    const fxp_quick quick = fxp_quick_of(pass, s->taps);
    int32_t place, c, t;
    for (place = 0; place < positions; place++) {
        for (c = first; c < last; c++) {
            FXP_ROM fxp_param *w = weights + (c - first) * s->taps;
            const int32_t oh = place / s->ow, ow = place % s->ow, start = fxp_quick_start(quick, c);
            fxp_forward_sum best = sum_of(s, pass->x, w, spread_position(s, oh, ow, 0), start);
            int32_t winner = 0;
            for (t = 1; t < s->pool_h * s->pool_w; t++) {
                const fxp_forward_sum sum = sum_of(s, pass->x, w, spread_position(s, oh, ow, t), start);
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

void fxp_transposed_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
#if FXP_SOME
    fxp_span span;
#endif
#if FXP_PACKED
    if (pass->weights == NULL) { /* a panel's weights are unpacked once a sample */
        int32_t c;
        for (c = 0; c < s->co; c += s->panel) {
            const int32_t count = (s->co - c < s->panel) ? (s->co - c) : s->panel;
            fxp_unpack_weights(s->weights, c, count, s->taps, pass->panel);
            forward_panel(pass, pass->panel, c, c + count);
        }
        return;
    }
#endif
#if FXP_SOME
    for (span.last = 0; span.last < s->co;) {
        span = fxp_span_of(pass->model, s, pass->weights, span.last);
        forward_panel(pass, span.weights, span.first, span.last);
    }
#else
    forward_panel(pass, pass->weights, 0, s->co);
#endif
}

#if FXP_TRAINING && (FXP_BACK_TRANSPOSED || FXP_GRADIENT_TRANSPOSED)

/* Where the kernel lay that gave output `element`. */
static fxp_position seen_at(const fxp_backward *pass, int32_t element)
{
    const fxp_stage *s = pass->stage;
    const int32_t place = element / s->co;
    return spread_position(s, place / s->ow, place % s->ow, (pass->winners == NULL) ? 0 : pass->winners[element]);
}

#endif

#if FXP_TRAINING && FXP_BACK_TRANSPOSED

void fxp_transposed_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const int32_t count = s->oh * s->ow * s->co;
    int32_t element, kh, kw;
    for (element = 0; element < count; element++) {
        if (pass->error[element] != 0) {
            const fxp_position at = seen_at(pass, element);
            FXP_ROM fxp_param *w = fxp_channel_of(pass->model, s, pass->weights, element % s->co);
            for (kh = 0; kh < s->kh; kh++) {
                for (kw = 0; kw < s->kw; kw++) {
                    const int32_t to = input_under(s, at, kh, kw);
                    if (to >= 0) {
                        fxp_add_weights(sums + to, w + (kh * s->kw + kw) * s->ci, pass->error[element], s->ci);
                    }
                }
            }
        }
    }
}

#endif

#if FXP_TRAINING && FXP_GRADIENT_TRANSPOSED

void fxp_transposed_weight_gradient(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums)
{
    const fxp_stage *s = pass->stage;
    int32_t element, kh, kw;
    for (element = c; element < s->oh * s->ow * s->co; element += s->co) {
        if (pass->error[element] != 0) {
            const fxp_position at = seen_at(pass, element);
            for (kh = 0; kh < s->kh; kh++) {
                for (kw = 0; kw < s->kw; kw++) {
                    const int32_t from = input_under(s, at, kh, kw);
                    if (from >= 0) {
                        fxp_add_inputs(sums + (kh * s->kw + kw) * s->ci, pass->x + from, pass->error[element], s->ci);
                    }
                }
            }
        }
    }
}

#endif

#endif
