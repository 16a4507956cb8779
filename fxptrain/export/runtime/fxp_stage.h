/* What every stage's loops are handed, and the two ends they share: bias, ReLU, rounding; mask, rounding. Twin of
 * kernels/requantize.py. */
#ifndef FXP_STAGE_H
#define FXP_STAGE_H

#include "fxp_rounding.h"
#include "fxp_types.h"

/* Forward of one sample. */
typedef struct {
    const fxp_stage *stage;
    FXP_ROM fxp_param *weights; /* with FXP_PACKED, NULL: to be unpacked into the panel */
    FXP_ROM fxp_param *bias;    /* NULL: none */
    const fxp_value *x;       /* (h, w, ci) */
    fxp_value *y;             /* (oh, ow, co) */
    uint8_t *winners;         /* of y; NULL: nobody wants them */
    fxp_param *panel;         /* scratch for unpacked weights */
    fxp_value *patches;       /* (pool_h * pool_w, kh, kw, ci), scratch of convolutions */
    fxp_site *site;
    uint32_t first; /* index of y's first element in the whole batch */
    int32_t lift;   /* brings sums of products to the grid of the sums */
    int32_t bias_shift;
} fxp_forward;

/* Round the largest sum of one window to element `at` of y. */
void fxp_finish(const fxp_forward *pass, fxp_forward_sum best, int32_t c, int32_t at);

/* Offset of entry `t` of a pooling window. */
typedef struct {
    int32_t h;
    int32_t w;
} fxp_position;

fxp_position fxp_window_entry(int32_t t, int32_t pool_w);

/* Input position of the first tap of the kernel at entry `t` of pooled output (oh, ow); negative in the padding. */
fxp_position fxp_input_position(const fxp_stage *stage, int32_t oh, int32_t ow, int32_t t);

/* Kernel taps first <= k < last that lie inside an axis of `extent`, for a kernel of `size` at `position`. */
typedef struct {
    int32_t first;
    int32_t last;
} fxp_range;

fxp_range fxp_inside(int32_t position, int32_t size, int32_t extent);

#if FXP_TRAINING

/* Backward of one sample. */
typedef struct {
    const fxp_stage *stage;
    FXP_ROM fxp_param *weights;
    const fxp_value *x;
    const uint8_t *winners; /* NULL: no pooling */
    const fxp_error *error; /* (oh, ow, co) */
} fxp_backward;

/* Mask the sums of one sample's input error, note the largest absolute one, and round them to `out` (NULL: only
 * look). An error passes where the input is strictly between the bounds. */
void fxp_finish_error(const fxp_backward *pass, const fxp_error_sum *sums, fxp_site *site, uint32_t first,
                      uint64_t *largest, fxp_error *out);

#endif

#endif
