#include "fxp_limbs.h"

#include "fxp_packed.h"
#include "fxp_some.h"

#if FXP_LIMBS

#define FXP_LIMB 16
#define FXP_LOW ((int64_t)0xFFFF)
#define FXP_FAR ((int64_t)0x40000001) /* a high limb beyond the range of 32 bits after a shift by less than a limb */

/* Two exact chains; carried, 0 <= low < 2^16. */
typedef struct {
    int64_t high;
    int64_t low;
} limbs;

static limbs carried(limbs sum)
{
    limbs found;
    found.high = sum.high + fxp_shift_right(sum.low, FXP_LIMB);
    found.low = sum.low & FXP_LOW;
    return found;
}

static limbs times(limbs sum, int64_t factor)
{
    limbs found;
    found.high = sum.high * factor;
    found.low = sum.low * factor;
    return carried(found);
}

/* How far the kernel moves from output to output, and how far inputs lie apart from each other, with zeros between: of a
 * transposed convolution as many as its stride. */
typedef struct {
    fxp_position step;
    fxp_position apart;
} spacing;

static spacing spacing_of(const fxp_stage *s)
{
    const spacing plain = {{s->sh, s->sw}, {1, 1}}, transposed = {{1, 1}, {s->sh, s->sw}};
    return (s->kind == FXP_TRANSPOSED) ? transposed : plain;
}

/* The input that a place on an axis holds, of `count` that lie `apart`; -1 for a zero. */
static inline int32_t held(int32_t place, int32_t apart, int32_t count)
{
    return ((place >= 0) && (place % apart == 0) && (place / apart < count)) ? (place / apart) : -1;
}

/* The products of the inputs under the kernel for output (oh, ow), entry `t` of its pooling window; `x` is the first
 * channel's. */
static limbs sum_of(const fxp_stage *s, const fxp_value *x, FXP_ROM fxp_param *weights, int32_t inner, int32_t oh, int32_t ow,
                    int32_t t)
{
    const spacing lie = spacing_of(s);
    limbs sum = {0, 0};
    int32_t kh, kw, i;
    for (kh = 0; kh < s->kh; kh++) {
        const int32_t top = (oh * s->pool_h + t / s->pool_w) * lie.step.h - s->pad_h;
        const int32_t h = held(top + FXP_APART_H(s, kh), lie.apart.h, s->h);
        for (kw = 0; (kw < s->kw) && (h >= 0); kw++) {
            const int32_t left = (ow * s->pool_w + t % s->pool_w) * lie.step.w - s->pad_w;
            const int32_t at = held(left + FXP_APART_W(s, kw), lie.apart.w, s->w);
            const fxp_value *from = x + (h * s->w + at) * s->ci;
            FXP_ROM fxp_param *w = weights + (kh * s->kw + kw) * inner;
            for (i = 0; (i < inner) && (at >= 0); i++) {
                const int32_t weight = w[i], value = from[i];
                sum.high += (int64_t)value * fxp_shift_right_32(weight, FXP_LIMB);
                sum.low += (int64_t)value * (weight & (int32_t)FXP_LOW);
            }
        }
    }
    return carried(sum);
}

/* A sum on the grid of all, with the bias of channel `c`, through a function that adds fractional bits. */
static limbs completed(const fxp_forward *pass, limbs best, int32_t c)
{
    limbs sum = times(best, (int64_t)1 << pass->lift);
    if (pass->bias != NULL) {
        const int64_t bias = pass->bias[c];
        if (pass->bias_shift >= FXP_LIMB) {
            sum.high += bias * ((int64_t)1 << (pass->bias_shift - FXP_LIMB));
        } else {
            sum.low += bias * ((int64_t)1 << pass->bias_shift);
        }
        sum = carried(sum);
    }
#if FXP_FUNCTIONS
    if (pass->stage->added_frac > 0) { /* which multiplies by one of two numbers */
        const int64_t sign = (sum.high < 0) ? -1 : 1;
        sum = times(sum, sign * fxp_function_value(pass->stage, sign));
    }
#endif
    return sum;
}

/* Shifted and rounded; what saturates in any case may be another number that does. */
static int64_t rounded(fxp_site *site, limbs sum, uint32_t index)
{
    const int32_t lift = (site->shift < FXP_LIMB) ? (FXP_LIMB - site->shift) : 0;
    const int32_t right = (site->shift < FXP_LIMB) ? 0 : (site->shift - FXP_LIMB);
    limbs value = sum;
    int64_t more = 0, carry = FXP_LOW >> 1;
    if (lift > 0) {
        value.high = fxp_saturate(value.high, -FXP_FAR, FXP_FAR);
        value = times(value, (int64_t)1 << lift);
    }
#if FXP_TRAINING
    if (site->stochastic) {
        const uint64_t draw = fxp_draw(&site->draws, index);
        more = (int64_t)((right > 32) ? (draw << (right - 32)) : (draw >> (32 - right)));
        carry = (int64_t)((right > FXP_LIMB) ? (draw << (right - FXP_LIMB)) : (draw >> (FXP_LIMB - right))) & FXP_LOW;
        return fxp_shift_right(value.high + more + fxp_shift_right(value.low + carry, FXP_LIMB), right);
    }
#else
    (void)index;
#endif
    if (right > 0) {
        more = ((int64_t)1 << (right - 1)) - 1;
        carry = FXP_LOW;
    }
    carry += (site->shift > 0) ? (fxp_shift_right(value.high, right) & 1) : 0;
    return fxp_shift_right(value.high + more + fxp_shift_right(value.low + carry, FXP_LIMB), right);
}

/* The smallest and the largest output that a stage's function lets through, or none. */
typedef struct {
    int64_t low;
    int64_t high;
} range;

static range outputs_of(const fxp_forward *pass)
{
    range found = {INT64_MIN, INT64_MAX};
#if FXP_FUNCTIONS
    const int32_t frac = pass->model->forms[fxp_tensors[(pass->stage - fxp_stages) + 1].form].frac;
    const int32_t coarser = (pass->site->shift < 0) ? -pass->site->shift : 0; /* bounds lie on the grid of the sums */
    const fxp_bounds bounds = fxp_function_bounds(pass->stage, frac);
    if (bounds.low >= FXP_MIN_RAW(FXP_VALUE_BITS)) {
        found.low = -(fxp_shift_right(-bounds.low, coarser) * ((int64_t)1 << coarser));
    }
    if (bounds.high <= FXP_MAX_RAW(FXP_VALUE_BITS)) {
        found.high = fxp_shift_right(bounds.high, coarser) * ((int64_t)1 << coarser);
    }
#endif
    if (pass->stage->relu && (found.low < 0)) {
        found.low = 0;
    }
    return found;
}

/* Output channels first <= c < last, whose weights begin at `weights`. A group of all channels is a convolution, groups of one
 * each are a depthwise one. */
static void forward_panel(const fxp_forward *pass, FXP_ROM fxp_param *weights, int32_t first, int32_t last)
{
    const fxp_stage *s = pass->stage;
    const int32_t inner = s->taps / (s->kh * s->kw), positions = s->oh * s->ow;
    const range outputs = outputs_of(pass);
    int32_t place, c, t;
    for (place = 0; place < positions; place++) {
        for (c = first; c < last; c++) {
            FXP_ROM fxp_param *w = weights + (c - first) * s->taps;
            const fxp_value *x = pass->x + c / (s->co / (s->ci / inner)) * inner;
            const int32_t oh = place / s->ow, ow = place % s->ow, at = place * s->co + c;
            limbs best = sum_of(s, x, w, inner, oh, ow, 0);
            int32_t winner = 0;
            int64_t value;
            for (t = 1; t < s->pool_h * s->pool_w; t++) {
                const limbs sum = sum_of(s, x, w, inner, oh, ow, t);
                if ((sum.high > best.high) || ((sum.high == best.high) && (sum.low > best.low))) { /* the first on ties */
                    best = sum;
                    winner = t;
                }
            }
            value = rounded(pass->site, completed(pass, best, c), pass->first + (uint32_t)at);
            pass->y[at] = (fxp_value)fxp_store(pass->site, fxp_saturate(value, outputs.low, outputs.high));
            if (pass->winners != NULL) {
                pass->winners[at] = (uint8_t)winner;
            }
        }
    }
}

void fxp_limbs_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
#if FXP_SOME
    fxp_span span;
#endif
#if FXP_PACKED
    if (pass->weights == NULL) { /* a panel is unpacked once a sample */
        int32_t c;
        for (c = 0; c < s->co; c += s->panel) {
            const int32_t channels = (s->co - c < s->panel) ? (s->co - c) : s->panel;
            fxp_unpack_weights(s->weights, c, channels, s->taps, pass->panel);
            forward_panel(pass, pass->panel, c, c + channels);
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

#endif
