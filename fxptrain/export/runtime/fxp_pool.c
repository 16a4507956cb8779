#include "fxp_pool.h"

#if FXP_USE_MAXPOOL || FXP_USE_AVGPOOL

/* Flat input index of channel `c` at entry `t` of the window of output (oh, ow). */
static int32_t input_at(const fxp_stage *s, int32_t oh, int32_t ow, int32_t c, int32_t t)
{
    const fxp_position entry = fxp_window_entry(t, s->kw);
    return ((oh * s->sh + entry.h) * s->w + ow * s->sw + entry.w) * s->ci + c;
}

#endif

#if FXP_USE_MAXPOOL

void fxp_maxpool_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, c, t, at = 0;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            for (c = 0; c < s->co; c++, at++) {
                fxp_value best = pass->x[input_at(s, oh, ow, c, 0)];
                int32_t winner = 0;
                for (t = 1; t < s->kh * s->kw; t++) {
                    const fxp_value value = pass->x[input_at(s, oh, ow, c, t)];
                    if (value > best) {
                        best = value;
                        winner = t;
                    }
                }
                pass->y[at] = best;
                if (pass->winners != NULL) {
                    pass->winners[at] = (uint8_t)winner;
                }
            }
        }
    }
}

#endif

#if FXP_USE_AVGPOOL

/* Sum of a window of one channel; |x| < 2^31, and a window has fewer than 2^31 entries. */
static int64_t window_sum(const fxp_stage *s, const fxp_value *x)
{
    const int32_t ci = s->ci, kh = s->kh, kw = s->kw, row = s->w * ci;
#if FXP_VALUE_BITS <= 8
    int32_t sum = 0; /* of fewer than 2^24 entries */
#else
    int64_t sum = 0;
#endif
    int32_t i, j;
    for (i = 0; i < kh; i++) {
        const fxp_value *from = x;
        for (j = 0; j < kw; j++) {
            sum += *from;
            from += ci;
        }
        x += row;
    }
    return sum;
}

void fxp_averagepool_forward(const fxp_forward *pass)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, c, at = 0;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            for (c = 0; c < s->co; c++, at++) {
                int64_t sum = window_sum(s, pass->x + input_at(s, oh, ow, c, 0));
                sum *= s->mean.mantissa;
                if (s->relu && (sum < 0)) {
                    sum = 0;
                }
                pass->y[at] = (fxp_value)fxp_requantize(pass->site, sum, pass->first + (uint32_t)at);
            }
        }
    }
}

#endif

#if FXP_TRAINING && FXP_BACK_MAXPOOL

void fxp_maxpool_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, c, at = 0;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            for (c = 0; c < s->co; c++, at++) {
                sums[input_at(s, oh, ow, c, pass->winners[at])] += pass->error[at];
            }
        }
    }
}

#endif

#if FXP_TRAINING && FXP_BACK_AVGPOOL

void fxp_averagepool_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    const fxp_stage *s = pass->stage;
    int32_t oh, ow, c, t, at = 0;
    for (oh = 0; oh < s->oh; oh++) {
        for (ow = 0; ow < s->ow; ow++) {
            for (c = 0; c < s->co; c++, at++) {
                const fxp_error_sum part = (fxp_error_sum)pass->error[at] * s->mean.mantissa;
                for (t = 0; t < s->kh * s->kw; t++) {
                    sums[input_at(s, oh, ow, c, t)] += part;
                }
            }
        }
    }
}

#endif
