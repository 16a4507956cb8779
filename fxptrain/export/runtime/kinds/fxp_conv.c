#include "fxp_conv.h"

#include "fxp_forward_dot.h"
#include "fxp_packed.h"
#include "fxp_quick.h"
#include "fxp_rvv.h"
#include "fxp_some.h"

#if FXP_USE_CONV && !FXP_HELIUM
#include "fxp_patches.h"
#include "fxp_peak.h"
#endif

#if FXP_USE_CONV

fxp_fracs fxp_conv_fracs(const fxp_model *model, const fxp_stage *stage)
{
    return fxp_weighted_fracs(model, stage);
}

#if !FXP_HELIUM /* fxp_conv_vectors.c */

/* Channels c and `other` (which may be the same), whose weights are w0 and w1, of one output with a pooling window. */
static void pooled_pair(const fxp_forward *pass, fxp_quick quick, FXP_ROM fxp_param *w0, FXP_ROM fxp_param *w1, int32_t c,
                        int32_t other, int32_t at)
{
    const fxp_stage *s = pass->stage;
    const int32_t taps = s->taps, windows = s->pool_h * s->pool_w;
    const int32_t start0 = fxp_quick_start(quick, c), start1 = fxp_quick_start(quick, other);
    const fxp_value *patch = pass->patches;
    fxp_peak first = {0, 0}, second = {0, 0};
    int32_t t;
    for (t = 0; t < windows; t += 2) {
        const int32_t more = (t + 1 < windows) ? 1 : 0;
        const fxp_sums sums = fxp_dot_2x2(patch, patch + more * taps, w0, w1, taps, start0, start1);
        fxp_keep_larger(&first, sums.of[0], t);
        fxp_keep_larger(&second, sums.of[1], t);
        fxp_keep_larger(&first, sums.of[2], t + more);
        fxp_keep_larger(&second, sums.of[3], t + more);
        patch += 2 * taps;
    }
    fxp_end_peak(pass, quick, &first, c, at);
    if (other != c) {
        fxp_end_peak(pass, quick, &second, other, at + 1);
    }
}

#ifdef FXP_THREE

/* Channels c to c + 2. */
static void pooled_three(const fxp_forward *pass, fxp_quick quick, FXP_ROM fxp_param *w, int32_t c, int32_t at)
{
    const fxp_stage *s = pass->stage;
    const int32_t taps = s->taps, windows = s->pool_h * s->pool_w;
    const int32_t start[3] = {fxp_quick_start(quick, c), fxp_quick_start(quick, c + 1), fxp_quick_start(quick, c + 2)};
    const fxp_value *patch = pass->patches;
    fxp_forward_sum sums[6];
    fxp_peak found[3] = {{0, 0}, {0, 0}, {0, 0}};
    int32_t t, j;
    for (t = 0; t < windows; t += 2) {
        const int32_t more = (t + 1 < windows) ? 1 : 0;
        fxp_dot_2x3(patch, patch + more * taps, w, taps, start, sums);
        for (j = 0; j < 3; j++) {
            fxp_keep_larger(&found[j], sums[j], t);
            fxp_keep_larger(&found[j], sums[3 + j], t + more);
        }
        patch += 2 * taps;
    }
    for (j = 0; j < 3; j++) {
        fxp_end_peak(pass, quick, &found[j], c + j, at + j);
    }
}

#endif

static void pooled(const fxp_forward *pass, fxp_quick quick, FXP_ROM fxp_param *weights, int32_t first, int32_t last)
{
    const fxp_stage *s = pass->stage;
    const int32_t taps = s->taps, windows = s->pool_h * s->pool_w;
    int32_t oh, ow, t, c;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            const int32_t at = (oh * s->ow + ow) * s->co;
            for (t = 0; t < windows; t++) {
                fxp_gather(s, pass->x, fxp_input_position(s, oh, ow, t), pass->patches + t * taps);
            }
            c = first;
#ifdef FXP_THREE
            for (; c + 3 <= last; c += 3) {
                pooled_three(pass, quick, weights + (c - first) * taps, c, at + c);
            }
#endif
            for (; c < last; c += 2) {
                const int32_t more = (c + 1 < last) ? 1 : 0;
                FXP_ROM fxp_param *w = weights + (c - first) * taps;
                pooled_pair(pass, quick, w, w + more * taps, c, c + more, at + c);
            }
        }
    }
}

/* All channels of one output from its patch, four at a time. */
static void one_patch(const fxp_forward *pass, fxp_quick quick, const fxp_value *patch, FXP_ROM fxp_param *weights,
                      int32_t first, int32_t last, int32_t at)
{
    const int32_t taps = pass->stage->taps;
    fxp_value *y = pass->y;
    FXP_ROM fxp_param *w = weights;
    int32_t c;
    for (c = first; c + 4 <= last; c += 4) {
        fxp_sums sums;
        sums.of[0] = fxp_quick_start(quick, c);
        sums.of[1] = fxp_quick_start(quick, c + 1);
        sums.of[2] = fxp_quick_start(quick, c + 2);
        sums.of[3] = fxp_quick_start(quick, c + 3);
        sums = fxp_dot_1x4(patch, w, taps, sums);
        fxp_end(pass, quick, y, sums.of[0], c, at + c);
        fxp_end(pass, quick, y, sums.of[1], c + 1, at + c + 1);
        fxp_end(pass, quick, y, sums.of[2], c + 2, at + c + 2);
        fxp_end(pass, quick, y, sums.of[3], c + 3, at + c + 3);
        w += 4 * taps;
    }
    for (; c < last; c++) {
        const int32_t start = fxp_quick_start(quick, c);
        const fxp_sums sums = fxp_dot_2x2(patch, patch, w, w, taps, start, start);
        fxp_end(pass, quick, y, sums.of[0], c, at + c);
        w += taps;
    }
}

#if FXP_PLAIN && defined(__GNUC__)
#define FXP_APART_FROM_CALLER __attribute__((noinline)) /* its loops take all registers, of which its caller leaves few */
#else
#define FXP_APART_FROM_CALLER
#endif

/* All channels of two neighbouring outputs, two or three at a time. */
FXP_APART_FROM_CALLER
static void two_patches(const fxp_forward *pass, fxp_quick quick, const fxp_value *x0, const fxp_value *x1,
                        FXP_ROM fxp_param *weights, int32_t first, int32_t last, int32_t at)
{
    const int32_t taps = pass->stage->taps, co = pass->stage->co;
    fxp_value *y = pass->y;
    FXP_ROM fxp_param *w = weights;
    int32_t c = first;
#ifdef FXP_THREE
    fxp_forward_sum six[6];
    int32_t j;
    for (; c + 3 <= last; c += 3) {
        const int32_t start[3] = {fxp_quick_start(quick, c), fxp_quick_start(quick, c + 1), fxp_quick_start(quick, c + 2)};
        fxp_dot_2x3(x0, x1, w, taps, start, six);
        for (j = 0; j < 3; j++) {
            fxp_end(pass, quick, y, six[j], c + j, at + c + j);
            fxp_end(pass, quick, y, six[3 + j], c + j, at + co + c + j);
        }
        w += 3 * taps;
    }
#endif
    for (; c + 2 <= last; c += 2) {
        const fxp_sums sums = fxp_dot_2x2(x0, x1, w, w + taps, taps, fxp_quick_start(quick, c), fxp_quick_start(quick, c + 1));
        fxp_end(pass, quick, y, sums.of[0], c, at + c);
        fxp_end(pass, quick, y, sums.of[1], c + 1, at + c + 1);
        fxp_end(pass, quick, y, sums.of[2], c, at + co + c);
        fxp_end(pass, quick, y, sums.of[3], c + 1, at + co + c + 1);
        w += 2 * taps;
    }
    if (c < last) {
        const int32_t start = fxp_quick_start(quick, c);
        const fxp_sums sums = fxp_dot_2x2(x0, x1, w, w, taps, start, start);
        fxp_end(pass, quick, y, sums.of[0], c, at + c);
        fxp_end(pass, quick, y, sums.of[2], c, at + co + c);
    }
}

/* A kernel of 1 x 1 needs no patches: it reads the input where it lies, two positions at a time. */
static void pointwise(const fxp_forward *pass, fxp_quick quick, FXP_ROM fxp_param *weights, int32_t first, int32_t last)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow;
    for (oh = 0; oh < s->oh; oh++) {
        const fxp_value *x = pass->x + oh * s->sh * s->w * s->ci;
        const int32_t step = s->sw * s->ci;
        int32_t at = oh * s->ow * s->co;
        for (ow = 0; ow + 2 <= s->ow; ow += 2) {
            two_patches(pass, quick, x, x + step, weights, first, last, at);
            x += 2 * step;
            at += 2 * s->co;
        }
        if (ow < s->ow) {
            one_patch(pass, quick, x, weights, first, last, at);
        }
    }
}

static void unpooled(const fxp_forward *pass, fxp_quick quick, FXP_ROM fxp_param *weights, int32_t first, int32_t last)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            fxp_gather(s, pass->x, fxp_input_position(s, oh, ow, 0), pass->patches);
            one_patch(pass, quick, pass->patches, weights, first, last, (oh * s->ow + ow) * s->co);
        }
    }
}

/* Output channels first <= c < last, whose weights begin at `weights`. */
static void forward_panel(const fxp_forward *pass, FXP_ROM fxp_param *weights, int32_t first, int32_t last)
{
    const fxp_stage *s = pass->stage;
    const fxp_quick quick = fxp_quick_of(pass, s->taps);
    if (s->pool_h * s->pool_w > 1) {
        pooled(pass, quick, weights, first, last);
    } else if (fxp_conv_sees_all(s)) {
        one_patch(pass, quick, pass->x, weights, first, last, 0);
    } else if (fxp_conv_is_pointwise(s)) {
        pointwise(pass, quick, weights, first, last);
    } else {
        unpooled(pass, quick, weights, first, last);
    }
}

#if FXP_SOME

/* Of a stage whose trained channels lie apart: at every position span by span. */
static void forward_apart(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    const fxp_quick quick = fxp_quick_of(pass, s->taps);
    int32_t oh, ow, c;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            const int32_t at = (oh * s->ow + ow) * s->co;
            const fxp_value *x = fxp_inputs_at(pass, oh, ow);
            fxp_span span;
            for (span.last = 0; span.last < s->co;) {
                span = fxp_span_of(pass->model, s, pass->weights, span.last);
                if (s->pool_h * s->pool_w == 1) {
                    one_patch(pass, quick, x, span.weights, span.first, span.last, at);
                }
                for (c = span.first; (c < span.last) && (s->pool_h * s->pool_w > 1); c += 2) {
                    FXP_ROM fxp_param *w = span.weights + (c - span.first) * s->taps;
                    const int32_t more = (c + 1 < span.last) ? 1 : 0;
                    pooled_pair(pass, quick, w, w + more * s->taps, c, c + more, at + c);
                }
            }
        }
    }
}

#endif

#define FXP_PANEL forward_panel

#else

#define FXP_PANEL fxp_conv_panel

#if FXP_SOME

/* Of a stage whose trained channels lie apart: span by span. */
static void forward_apart(const fxp_forward *pass)
{
    fxp_span span;
    for (span.last = 0; span.last < pass->stage->co;) {
        span = fxp_span_of(pass->model, pass->stage, pass->weights, span.last);
        FXP_PANEL(pass, span.weights, span.first, span.last);
    }
}

#endif

#endif

void fxp_conv_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
#if FXP_PACKED
    if (pass->weights == NULL) { /* a panel is unpacked once a sample; patches are gathered for every panel */
        const int32_t taps = s->taps;
        int32_t c;
        for (c = 0; c < s->co; c += s->panel) {
            const int32_t channels = (s->co - c < s->panel) ? (s->co - c) : s->panel;
            fxp_unpack_weights(s->weights, c, channels, taps, pass->panel);
            FXP_PANEL(pass, pass->panel, c, c + channels);
        }
        return;
    }
#endif
#if FXP_SOME
    if (fxp_is_apart(s)) {
        forward_apart(pass);
        return;
    }
#endif
    FXP_PANEL(pass, pass->weights, 0, s->co);
}

#endif
