#include "fxp_conv.h"

#include <string.h>

#include "fxp_dot.h"
#include "fxp_packed.h"

#if FXP_USE_CONV

/* Copy what the kernel sees at `at` to `patch` (kh, kw, ci), zeros in the padding. */
static void gather(const fxp_stage *s, const fxp_value *x, fxp_position at, fxp_value *patch)
{
    const fxp_range rows = fxp_inside(at.h, s->kh, s->h);
    const fxp_range columns = fxp_inside(at.w, s->kw, s->w);
    const int32_t run = s->kw * s->ci;
    const int32_t seen = (columns.last - columns.first) * s->ci;
    int32_t kh, i;
    if ((seen < run) || (rows.last - rows.first < s->kh)) {
        memset(patch, 0, (size_t)(s->kh * run) * sizeof(fxp_value));
    }
    for (kh = rows.first; kh < rows.last; kh++) {
        const fxp_value *from = x + ((at.h + kh) * s->w + at.w + columns.first) * s->ci;
        fxp_value *to = patch + kh * run + columns.first * s->ci;
        for (i = seen; i > 0; i--) {
            *to++ = *from++;
        }
    }
}

/* Largest sums of a pooling window so far, of two channels, and which entry they came from. */
typedef struct {
    fxp_forward_sum best[2];
    uint8_t winner[2];
} peak;

static void keep_larger(peak *so_far, const fxp_forward_sum sums[2], int32_t t)
{
    int32_t j;
    for (j = 0; j < 2; j++) {
        if ((t == 0) || (sums[j] > so_far->best[j])) {
            so_far->best[j] = sums[j];
            so_far->winner[j] = (uint8_t)t;
        }
    }
}

/* Channels c and `other` (which may be the same), whose weights are w0 and w1, of one output: the largest sum of each, the
 * first on ties, ends in y. */
static void finish_pair(const fxp_forward *pass, const fxp_value *patches, FXP_ROM fxp_param *w0, FXP_ROM fxp_param *w1,
                        int32_t c, int32_t other, int32_t at)
{
    const fxp_stage *s = pass->stage;
    const int32_t taps = s->kh * s->kw * s->ci;
    const int32_t windows = s->pool_h * s->pool_w;
    fxp_forward_sum sums[4];
    peak found;
    int32_t t, j;
    for (t = 0; t + 1 < windows; t += 2) {
        fxp_dot_quad(patches + t * taps, patches + (t + 1) * taps, w0, w1, taps, sums);
        keep_larger(&found, sums, t);
        keep_larger(&found, sums + 2, t + 1);
    }
    if (t < windows) {
        fxp_dot_pair(patches + t * taps, w0, w1, taps, sums);
        keep_larger(&found, sums, t);
    }
    for (j = 0; j <= other - c; j++) {
        fxp_finish(pass, found.best[j], c + j, at + j);
        if (pass->winners != NULL) {
            pass->winners[at + j] = found.winner[j];
        }
    }
}

/* Output channels first <= c < last, whose weights begin at `weights`. */
static void forward_panel(const fxp_forward *pass, FXP_ROM fxp_param *weights, int32_t first, int32_t last)
{
    const fxp_stage *s = pass->stage;
    const int32_t taps = s->kh * s->kw * s->ci;
    const int32_t windows = s->pool_h * s->pool_w;
    const int32_t whole = (windows == 1) && (s->kh == s->h) && (s->kw == s->w) && (s->pad_h == 0) && (s->pad_w == 0);
    const fxp_value *patches = whole ? pass->x : pass->patches; /* a linear layer sees its whole input */
    int32_t oh, ow, t, c;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            const int32_t at = (oh * s->ow + ow) * s->co;
            for (t = 0; (t < windows) && !whole; t++) {
                gather(s, pass->x, fxp_input_position(s, oh, ow, t), pass->patches + t * taps);
            }
            for (c = first; c < last; c += 2) {
                const int32_t more = (c + 1 < last) ? 1 : 0;
                FXP_ROM fxp_param *w = weights + (c - first) * taps;
                finish_pair(pass, patches, w, w + more * taps, c, c + more, at + c);
            }
        }
    }
}

void fxp_conv2d_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
#if FXP_PACKED
    if (pass->weights == NULL) { /* a panel is unpacked once a sample; patches are gathered for every panel */
        const int32_t taps = s->kh * s->kw * s->ci;
        int32_t c;
        for (c = 0; c < s->co; c += s->panel) {
            const int32_t channels = (s->co - c < s->panel) ? (s->co - c) : s->panel;
            fxp_unpack_weights(s->weights, c, channels, taps, pass->panel);
            forward_panel(pass, pass->panel, c, c + channels);
        }
        return;
    }
#endif
    forward_panel(pass, pass->weights, 0, s->co);
}

#if FXP_TRAINING && FXP_BACK_CONV

void fxp_conv2d_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    const fxp_error *error = pass->error;
    const uint8_t *winner = pass->winners;
    int32_t oh, ow, c, kh;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            for (c = 0; c < s->co; c++) {
                const int32_t t = (winner == NULL) ? 0 : *winner++;
                const fxp_error e = *error++;
                if (e != 0) {
                    const fxp_position at = fxp_input_position(s, oh, ow, t);
                    const fxp_range rows = fxp_inside(at.h, s->kh, s->h);
                    const fxp_range columns = fxp_inside(at.w, s->kw, s->w);
                    const int32_t count = (columns.last - columns.first) * s->ci;
                    for (kh = rows.first; kh < rows.last; kh++) {
                        fxp_add_weights(sums + ((at.h + kh) * s->w + at.w + columns.first) * s->ci,
                                        pass->weights + ((c * s->kh + kh) * s->kw + columns.first) * s->ci, e, count);
                    }
                }
            }
        }
    }
}

#endif

#if FXP_TRAINING && FXP_GRADIENT_CONV

void fxp_conv2d_weight_gradient(const fxp_backward *pass, int32_t c, fxp_gradient_sum *sums)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, kh;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            const int32_t element = (oh * s->ow + ow) * s->co + c;
            const fxp_error e = pass->error[element];
            if (e != 0) {
                const fxp_position at = fxp_input_position(s, oh, ow, (pass->winners == NULL) ? 0 : pass->winners[element]);
                const fxp_range rows = fxp_inside(at.h, s->kh, s->h);
                const fxp_range columns = fxp_inside(at.w, s->kw, s->w);
                const int32_t count = (columns.last - columns.first) * s->ci;
                for (kh = rows.first; kh < rows.last; kh++) {
                    fxp_add_inputs(sums + (kh * s->kw + columns.first) * s->ci,
                                   pass->x + ((at.h + kh) * s->w + at.w + columns.first) * s->ci, e, count);
                }
            }
        }
    }
}

#endif

#endif
