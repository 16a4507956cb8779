/* Convolution and linear layers forward with the vectors of Cortex-M55. */
#include "fxp_conv.h"

#if FXP_USE_CONV && FXP_HELIUM

#include <arm_mve.h>
#include <string.h>

#include "fxp_patches.h"

#define FXP_MOST_TAPS 64

/* Some output channels of a stage. */
typedef struct {
    const fxp_forward *pass;
    const fxp_param *weights;
    fxp_quick quick;
    int32_t first, last;
    int32_t spread;                 /* whether the taps of a kernel are looked up one by one, */
    uint8_t taps_at[FXP_MOST_TAPS]; /* so far from the first */
} panel;

/* Taps that lie in pieces of fewer than sixteen, and near enough. */
static void spread_taps(panel *all)
{
    const fxp_stage *s = all->pass->stage;
    const fxp_position origin = {0, 0};
    const int32_t last = fxp_input_at(s, origin, s->kh - 1, s->kw - 1) + s->ci - 1;
    int32_t kh, kw, c, k = 0;
    all->spread = (s->taps <= FXP_MOST_TAPS) && (last <= UINT8_MAX) && (s->kw * s->ci < 16);
    for (kh = 0; (kh < s->kh) && all->spread; kh++) {
        for (kw = 0; kw < s->kw; kw++) {
            for (c = 0; c < s->ci; c++) {
                all->taps_at[k++] = (uint8_t)(fxp_input_at(s, origin, kh, kw) + c);
            }
        }
    }
}

/* What the kernel sees at `at`. */
static inline void see(const panel *all, fxp_position at, fxp_value *patch)
{
    const fxp_stage *s = all->pass->stage;
    if (all->spread && fxp_all_inside(s, at)) {
        fxp_take_bytes(patch, all->pass->x + fxp_input_at(s, at, 0, 0), all->taps_at, s->taps);
    } else {
        fxp_gather(s, all->pass->x, at, patch);
    }
}

static inline int32_t run_of(const panel *all, int32_t c)
{
    return (all->last - c < FXP_RUN) ? (all->last - c) : FXP_RUN;
}

/* The larger sum so far, and of which entry of the window it is: the first on ties. */
static inline void keep_larger(int32_t *best, const int32_t *sums, uint8_t *winners, int32_t count, int32_t t)
{
    int32_t i;
    for (i = 0; i < count; i += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(count - i));
        const int32x4_t sum = vldrwq_s32(sums + i), old = vldrwq_s32(best + i);
        vstrwq_s32(best + i, vmaxq_s32(sum, old));
        if (winners != NULL) {
            vstrbq_p_u32(winners + i, vdupq_n_u32((uint32_t)t), vcmpgtq_m_s32(sum, old, lanes));
        }
    }
}

/* All channels of an output with a pooling window, whose patches are gathered. */
static void pooled_output(const panel *all, int32_t at)
{
    const fxp_stage *s = all->pass->stage;
    const int32_t taps = s->taps, windows = s->pool_h * s->pool_w;
    const fxp_param *w = all->weights;
    int32_t c, t, i;
    for (c = all->first; c < all->last; c += FXP_RUN) {
        const int32_t count = run_of(all, c);
        uint8_t *winners = (all->pass->winners == NULL) ? NULL : (all->pass->winners + at + c);
        const fxp_value *patch = all->pass->patches;
        fxp_run best, sums;
        for (i = 0; i < FXP_RUN; i++) {
            best.of[0][i] = INT32_MIN;
        }
        for (t = 0; t < windows; t += 2) {
            const int32_t more = (t + 1 < windows) ? 1 : 0;
            fxp_dots_two(patch, patch + more * taps, w, taps, count, &sums);
            keep_larger(best.of[0], sums.of[0], winners, count, t);
            keep_larger(best.of[0], sums.of[1], winners, count, t + more);
            patch += 2 * taps;
        }
        fxp_end_run(all->pass, &all->quick, &best, 1, c, count, at + c);
        w += count * taps;
    }
}

static void pooled(const panel *all)
{
    const fxp_forward *pass = all->pass;
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, t;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            for (t = 0; t < s->pool_h * s->pool_w; t++) {
                see(all, fxp_input_position(s, oh, ow, t), pass->patches + t * s->taps);
            }
            pooled_output(all, (oh * s->ow + ow) * s->co);
        }
    }
}

static void one_output(const panel *all, const fxp_value *x, int32_t at)
{
    const int32_t taps = all->pass->stage->taps;
    const fxp_param *w = all->weights;
    int32_t c;
    for (c = all->first; c < all->last; c += FXP_RUN) {
        const int32_t count = run_of(all, c);
        fxp_run sums;
        fxp_dots_one(x, w, taps, count, &sums);
        fxp_end_run(all->pass, &all->quick, &sums, 1, c, count, at + c);
        w += count * taps;
    }
}

static void two_outputs(const panel *all, const fxp_value *x0, const fxp_value *x1, int32_t at)
{
    const int32_t taps = all->pass->stage->taps;
    const fxp_param *w = all->weights;
    int32_t c;
    for (c = all->first; c < all->last; c += FXP_RUN) {
        const int32_t count = run_of(all, c);
        fxp_run sums;
        fxp_dots_two(x0, x1, w, taps, count, &sums);
        fxp_end_run(all->pass, &all->quick, &sums, 2, c, count, at + c);
        w += count * taps;
    }
}

/* A kernel of 1 x 1 reads the input where it lies, two positions at a time. */
static void pointwise(const panel *all)
{
    const fxp_stage *s = all->pass->stage;
    const int32_t step = s->sw * s->ci;
    int32_t oh, ow;
    for (oh = 0; oh < s->oh; oh++) {
        const fxp_value *x = all->pass->x + oh * s->sh * s->w * s->ci;
        for (ow = 0; ow < s->ow; ow += 2) {
            const int32_t at = (oh * s->ow + ow) * s->co;
            if (ow + 1 < s->ow) {
                two_outputs(all, x, x + step, at);
            } else {
                one_output(all, x, at);
            }
            x += 2 * step;
        }
    }
}

static void unpooled(const panel *all)
{
    const fxp_forward *pass = all->pass;
    const fxp_stage *s = pass->stage;
    int32_t oh, ow;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            see(all, fxp_input_position(s, oh, ow, 0), pass->patches);
            one_output(all, pass->patches, (oh * s->ow + ow) * s->co);
        }
    }
}

void fxp_conv_panel(const fxp_forward *pass, const fxp_param *weights, int32_t first, int32_t last)
{
    const fxp_stage *s = pass->stage;
    panel all;
    memset(&all, 0, sizeof all);
    all.pass = pass;
    all.weights = weights;
    all.quick = fxp_quick_of(pass, s->taps);
    all.first = first;
    all.last = last;
    if (s->pool_h * s->pool_w > 1) {
        spread_taps(&all);
        pooled(&all);
    } else if (fxp_conv_sees_all(s)) {
        one_output(&all, pass->x, 0);
    } else if (fxp_conv_is_pointwise(s)) {
        pointwise(&all);
    } else {
        spread_taps(&all);
        unpooled(&all);
    }
}

#endif
