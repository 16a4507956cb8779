/* What a kernel sees, side by side: for files that call it, each of which has its own. */
#ifndef FXP_PATCHES_H
#define FXP_PATCHES_H

#include <string.h>

#include "fxp_stage.h"
#include "fxp_vectors.h"

#if defined(__GNUC__) && defined(__ARM_FEATURE_UNALIGNED)

/* Copy `piece` values if what is left of `count` needs them: the compiler knows their number and takes whole words. */
#define FXP_COPY_REST(to, from, count, piece)                                                                          \
    if (((count) & (piece)) != 0) {                                                                                    \
        __builtin_memcpy((to), (from), (piece) * sizeof(fxp_value));                                                   \
        (to) += (piece);                                                                                               \
        (from) += (piece);                                                                                             \
    }

#endif

/* Copy values that do not overlap, in plain C several at a time: the compiler makes words of them where a core reads
 * words from anywhere. */
static inline void fxp_copy_values(fxp_value *to, const fxp_value *from, int32_t count)
{
#if FXP_HELIUM
    fxp_copy_bytes(to, from, count);
#elif defined(FXP_COPY_REST)
    fxp_value *out = to;
    const fxp_value *in = from;
    int32_t left = count;
    for (; left >= 16; left -= 16) {
        __builtin_memcpy(out, in, 16 * sizeof(fxp_value));
        out += 16;
        in += 16;
    }
    FXP_COPY_REST(out, in, left, 8)
    FXP_COPY_REST(out, in, left, 4)
    FXP_COPY_REST(out, in, left, 2)
    if ((left & 1) != 0) {
        *out = *in;
    }
#else
    int32_t left = count;
#ifdef __GNUC__
    for (; left >= 4; left -= 4) {
        __builtin_memcpy(to, from, 4 * sizeof(fxp_value));
        to += 4;
        from += 4;
    }
#endif
    for (; left > 0; left--) {
        *to++ = *from++;
    }
#endif
}

static inline void fxp_clear_values(fxp_value *to, int32_t count)
{
#if FXP_HELIUM
    fxp_clear_bytes(to, count);
#else
    memset(to, 0, (size_t)count * sizeof(fxp_value));
#endif
}

/* Copy what the kernel sees at `at` to `patch` (kh, kw, ci), zeros in the padding. */
static void fxp_gather(const fxp_stage *s, const fxp_value *x, fxp_position at, fxp_value *patch)
{
    const fxp_range rows = fxp_rows_inside(s, at);
    const fxp_range columns = fxp_columns_inside(s, at);
    const int32_t run = s->kw * s->ci;
    const int32_t seen = (columns.last - columns.first) * s->ci;
    const int32_t aside = fxp_taps_aside(s, columns);
    int32_t kh, kw;
    if ((seen < run) || (rows.last - rows.first < s->kh)) {
        fxp_clear_values(patch, s->kh * run);
    }
    if ((rows.first < rows.last) && (seen > 0)) {
        const fxp_value *from = x + fxp_input_at(s, at, rows.first, columns.first);
        fxp_value *to = patch + rows.first * run + columns.first * s->ci;
        const int32_t below = FXP_APART_H(s, s->w * s->ci), step = aside * s->ci;
        for (kh = rows.first; kh < rows.last; kh++) {
            for (kw = 0; kw < columns.last - columns.first; kw += aside) {
                fxp_copy_values(to + kw * s->ci, from + FXP_APART_W(s, kw) * s->ci, step);
            }
            from += below;
            to += run;
        }
    }
}

#if FXP_SOME && !FXP_HELIUM

/* The inputs of output (oh, ow): where they lie, for a kernel of one position or of all, or patches. */
static const fxp_value *fxp_inputs_at(const fxp_forward *pass, int32_t oh, int32_t ow)
{
    const fxp_stage *s = pass->stage;
    const fxp_position at = fxp_input_position(s, oh, ow, 0);
    const int32_t windows = s->pool_h * s->pool_w, whole = (s->kh == s->h) && (s->kw == s->w);
    int32_t t;
    if ((windows == 1) && (s->pad_h == 0) && (s->pad_w == 0) && (whole || (s->kh * s->kw == 1))) {
        return pass->x + fxp_input_at(s, at, 0, 0);
    }
    for (t = 0; t < windows; t++) {
        fxp_gather(s, pass->x, fxp_input_position(s, oh, ow, t), pass->patches + t * s->taps);
    }
    return pass->patches;
}

#endif

#endif
