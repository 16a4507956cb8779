/* Stages that train some of their output channels. Their rows of weights, of `taps` each, may lie apart from the others': these
 * stay where they were exported, and the trained ones alone are in the arena. Twin of nn/state/channels.py, which chooses. */
#ifndef FXP_SOME_H
#define FXP_SOME_H

#include "fxp_types.h"

/* Neighbouring output channels first <= c < last whose weights lie together, at `weights`. */
typedef struct {
    FXP_ROM fxp_param *weights;
    int32_t first;
    int32_t last;
} fxp_span;

#if FXP_SOME

/* Number of channel `c` among those that are trained; -1: it is not. */
static inline int32_t fxp_row_of(const fxp_stage *stage, int32_t c)
{
    return (stage->rows == NULL) ? c : stage->rows[c];
}

/* Output channels that are trained, where any are. */
static inline int32_t fxp_learning(const fxp_stage *stage)
{
    return (stage->rows == NULL) ? stage->co : stage->learning;
}

static inline int32_t fxp_is_apart(const fxp_stage *stage)
{
    return (stage->rows != NULL) && stage->apart;
}

static inline int32_t fxp_trains_some(const fxp_stage *stage)
{
    return stage->rows != NULL;
}

/* Weights of channel `c`, of a stage whose others are at `weights`. */
static inline FXP_ROM fxp_param *fxp_channel_of(const fxp_model *model, const fxp_stage *stage, FXP_ROM fxp_param *weights,
                                                int32_t c)
{
    if (fxp_is_apart(stage) && (stage->rows[c] >= 0)) {
        return (const fxp_param *)(const void *)(model->arena + stage->weights_at) + stage->rows[c] * stage->taps;
    }
    return weights + c * stage->taps;
}

/* The channels from `c` on that lie together. */
static inline fxp_span fxp_span_of(const fxp_model *model, const fxp_stage *stage, FXP_ROM fxp_param *weights, int32_t c)
{
    fxp_span span;
    span.weights = fxp_channel_of(model, stage, weights, c);
    span.first = c;
    span.last = fxp_is_apart(stage) ? (c + 1) : stage->co;
    while ((span.last < stage->co) && ((stage->rows[span.last] < 0) == (stage->rows[c] < 0))) {
        span.last++;
    }
    return span;
}

#else

static inline int32_t fxp_row_of(const fxp_stage *stage, int32_t c)
{
    (void)stage;
    return c;
}

static inline int32_t fxp_learning(const fxp_stage *stage)
{
    return stage->co;
}

static inline int32_t fxp_is_apart(const fxp_stage *stage)
{
    (void)stage;
    return 0;
}

static inline int32_t fxp_trains_some(const fxp_stage *stage)
{
    (void)stage;
    return 0;
}

static inline FXP_ROM fxp_param *fxp_channel_of(const fxp_model *model, const fxp_stage *stage, FXP_ROM fxp_param *weights,
                                                int32_t c)
{
    (void)model;
    return weights + c * stage->taps;
}

static inline fxp_span fxp_span_of(const fxp_model *model, const fxp_stage *stage, FXP_ROM fxp_param *weights, int32_t c)
{
    fxp_span span;
    (void)model;
    span.weights = weights;
    span.first = c;
    span.last = stage->co;
    return span;
}

#endif

/* Number of channel `c`, which is trained, among the rows of weights in the arena. */
static inline int32_t fxp_arena_row(const fxp_stage *stage, int32_t c)
{
    return fxp_is_apart(stage) ? fxp_row_of(stage, c) : c;
}

#endif
