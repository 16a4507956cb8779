/* What every stage's loops are handed, and what they share: bias, activation and rounding at their end, windows, grids. Twin
 * of kernels/requantize.py. */
#ifndef FXP_STAGE_H
#define FXP_STAGE_H

#include "fxp_rounding.h"
#include "fxp_types.h"

/* Fractional bits of a stage's sums: of the output, before its function; beyond which a moving output format holds nothing more; and how many
 * more the sums of an input error have than the output error. */
typedef struct {
    int32_t frac;
    int32_t finest;
    int32_t error_frac;
} fxp_fracs;

#define FXP_NO_FINEST INT32_MAX

static inline fxp_fracs fxp_fracs_at(int32_t frac, int32_t finest, int32_t error_frac)
{
    fxp_fracs fracs;
    fracs.frac = frac;
    fracs.finest = finest;
    fracs.error_frac = error_frac;
    return fracs;
}

/* Functions of each value, of stages that end in more than a ReLU: switches over the functions that a model has, in the
 * generated fxp_kinds.c. Of every function there is a file fxp_<name>.h with what it needs of these. */
#if FXP_FUNCTIONS

/* Of a function that only bounds: the smallest and the largest raw output with so many fractional bits, between which errors
 * pass. INT64_MIN, INT64_MAX: none. */
typedef struct {
    int64_t low;
    int64_t high;
} fxp_bounds;

fxp_bounds fxp_function_bounds(const fxp_stage *stage, int32_t frac);

/* Of a function that adds fractional bits: what becomes of a sum, and of the sum of an error that comes back to an output x. */
int64_t fxp_function_value(const fxp_stage *stage, int64_t sum);
int64_t fxp_function_error(const fxp_stage *stage, int64_t x, int64_t sum);

#endif

static inline int32_t fxp_added_frac(const fxp_stage *stage)
{
#if FXP_FUNCTIONS
    return stage->added_frac;
#else
    (void)stage;
    return 0;
#endif
}

/* Of sums of products. */
fxp_fracs fxp_weighted_fracs(const fxp_model *model, const fxp_stage *stage);

/* Input `k` of a stage, and its fractional bits now. */
static inline const fxp_tensor *fxp_input_of(const fxp_stage *stage, int32_t k)
{
    return &fxp_tensors[fxp_stage_inputs[stage->first_input + k]];
}

static inline int32_t fxp_x_frac(const fxp_model *model, const fxp_stage *stage, int32_t k)
{
    return model->forms[fxp_input_of(stage, k)->form].frac;
}

/* Forward of one sample. */
typedef struct {
    const fxp_model *model;
    const fxp_stage *stage;
    FXP_ROM fxp_param *weights; /* with FXP_PACKED, NULL: to be unpacked into the panel */
    FXP_ROM fxp_param *bias;    /* NULL: none */
    const fxp_value *x;       /* (h, w, ci), the first input */
    const fxp_value *xs[FXP_MOST_INPUTS];
    fxp_value *y;       /* (oh, ow, co) */
    uint8_t *winners;   /* of y; NULL: nobody wants them */
    fxp_param *panel;   /* scratch for unpacked weights */
    fxp_value *patches; /* (pool_h * pool_w, kh, kw, ci), scratch of convolutions */
    fxp_site *site;
    uint32_t first; /* index of y's first element in the whole batch */
    int32_t lift;   /* brings sums of products to the grid of the sums */
    int32_t bias_shift;
#if FXP_FUNCTIONS
    fxp_bounds outputs; /* the smallest and the largest raw output, */
    fxp_bounds bounds;  /* and sum */
#endif
} fxp_forward;

/* What becomes of a sum of a stage before it is rounded. */
static inline int64_t fxp_activated(const fxp_forward *pass, const fxp_stage *stage, int64_t sum)
{
    int64_t value = (stage->relu && (sum < 0)) ? 0 : sum;
#if FXP_FUNCTIONS
    if (stage->added_frac > 0) {
        value = fxp_function_value(stage, value);
    }
    value = (value > pass->bounds.high) ? pass->bounds.high : value;
    value = (value < pass->bounds.low) ? pass->bounds.low : value;
#else
    (void)pass;
#endif
    return value;
}

/* Round the largest sum of one window to element `at` of y. */
void fxp_finish(const fxp_forward *pass, fxp_forward_sum best, int32_t c, int32_t at);

/* Offset of entry `t` of a pooling window. */
typedef struct {
    int32_t h;
    int32_t w;
} fxp_position;

fxp_position fxp_window_entry(int32_t t, int32_t pool_w);

/* Input position of the first tap of the kernel at entry `t` of pooled output (oh, ow); negative in the padding. */
static inline fxp_position fxp_input_position(const fxp_stage *stage, int32_t oh, int32_t ow, int32_t t)
{
    fxp_position at = {0, 0};
    if (t > 0) {
        at = fxp_window_entry(t, stage->pool_w);
    }
    at.h = (oh * stage->pool_h + at.h) * stage->sh - stage->pad_h;
    at.w = (ow * stage->pool_w + at.w) * stage->sw - stage->pad_w;
    return at;
}

/* So many steps from tap to tap of the kernel, in positions of the input. */
#if FXP_DILATED
#define FXP_APART_H(stage, steps) ((steps) * (stage)->dil_h)
#define FXP_APART_W(stage, steps) ((steps) * (stage)->dil_w)
#else
#define FXP_APART_H(stage, steps) (steps)
#define FXP_APART_W(stage, steps) (steps)
#endif

/* Kernel taps first <= k < last. */
typedef struct {
    int32_t first;
    int32_t last;
} fxp_range;

/* Taps inside an axis of `extent`, of a kernel of `size` taps at `position`, `apart` from each other. */
static inline fxp_range fxp_taps_inside(int32_t position, int32_t size, int32_t extent, int32_t apart)
{
    const int32_t fit = (extent - position + apart - 1) / apart;
    fxp_range range;
    range.first = (position < 0) ? ((apart - 1 - position) / apart) : 0;
    range.last = (size > fit) ? fit : size;
    return range;
}

/* Those that lie inside the input's height, or width, for a kernel whose first tap is at `at`. */
static inline fxp_range fxp_rows_inside(const fxp_stage *stage, fxp_position at)
{
    return fxp_taps_inside(at.h, stage->kh, stage->h, FXP_APART_H(stage, 1));
}

static inline fxp_range fxp_columns_inside(const fxp_stage *stage, fxp_position at)
{
    return fxp_taps_inside(at.w, stage->kw, stage->w, FXP_APART_W(stage, 1));
}

/* Whether the whole kernel at `at` lies inside the input. */
static inline int32_t fxp_all_inside(const fxp_stage *s, fxp_position at)
{
    return (at.h >= 0) && (at.w >= 0) && (at.h + FXP_APART_H(s, s->kh - 1) < s->h) && (at.w + FXP_APART_W(s, s->kw - 1) < s->w);
}

/* How many of these columns of taps lie side by side in the input. */
static inline int32_t fxp_taps_aside(const fxp_stage *stage, fxp_range columns)
{
#if FXP_DILATED
    if (stage->dil_w > 1) {
        return 1;
    }
#else
    (void)stage;
#endif
    return columns.last - columns.first;
}

/* Where tap (kh, kw) of the kernel at `at` reads channel 0 of the input. */
static inline int32_t fxp_input_at(const fxp_stage *stage, fxp_position at, int32_t kh, int32_t kw)
{
    return ((at.h + FXP_APART_H(stage, kh)) * stage->w + at.w + FXP_APART_W(stage, kw)) * stage->ci;
}

/* Flat index of channel `c` at entry `t` of the window (kh, kw) of output (oh, ow), without padding. */
int32_t fxp_window_at(const fxp_stage *stage, int32_t oh, int32_t ow, int32_t c, int32_t t);

/* One grid for numbers of several, added up: the finest of all on which int64 holds their sum. Twin of
 * nn/layers/alignment.py. */
typedef struct {
    int32_t finest;
    int32_t limit;
} fxp_grid;

#define FXP_SUM_BITS 62

static inline fxp_grid fxp_grid_none(void)
{
    const fxp_grid grid = {INT32_MIN, INT32_MAX};
    return grid;
}

/* An addend with `frac` fractional bits, of which int64 holds the sum if it is shifted by no more than `room` bits. */
static inline void fxp_grid_add(fxp_grid *grid, int32_t frac, int32_t room)
{
    grid->finest = (frac > grid->finest) ? frac : grid->finest;
    grid->limit = (frac + room < grid->limit) ? (frac + room) : grid->limit;
}

static inline int32_t fxp_grid_frac(const fxp_grid *grid)
{
    return (grid->finest < grid->limit) ? grid->finest : grid->limit;
}

/* value * 2^lift, exact to the left, floored to the right; |lift| <= 62. */
static inline int64_t fxp_lifted(int64_t value, int32_t lift)
{
    return (lift < 0) ? fxp_shift_right(value, -lift) : (value * ((int64_t)1 << lift));
}

#if FXP_TRAINING

/* Backward of one sample. */
typedef struct {
    const fxp_model *model;
    const fxp_stage *stage;
    FXP_ROM fxp_param *weights;
    const fxp_value *x;     /* of the input whose error is wanted; for stages that read it back, and gradients */
    const uint8_t *winners; /* NULL: no pooling */
    const fxp_error *error; /* (oh, ow, co) */
    int32_t slot;           /* which of the inputs its error is wanted of */
    int32_t sample;         /* its number in the batch */
} fxp_backward;

#endif

#endif
