/* One training step in pieces: errors from the loss down, gradients into the update, formats afterwards. Twin of
 * nn/step.py and nn/sinks.py. What does not belong here: the order of the pieces (fxp_train.c). */
#ifndef FXP_STEP_H
#define FXP_STEP_H

#include "fxp.h"
#include "fxp_model.h"
#include "fxp_update.h"

#if FXP_TRAINING

/* What lives for one step. */
typedef struct {
    fxp_model *model;
    int32_t count;
    fxp_multiplier rate;
    int32_t error_frac[FXP_STAGES]; /* of the error at each stage's output */
    int32_t sum_frac[FXP_STAGES];   /* of the sums it is rounded from */
    uint64_t largest[FXP_STAGES];   /* of those sums, absolute */
    uint32_t saturated[FXP_STAGES]; /* errors that did not fit */
    int64_t loss_sum;
    int32_t correct;
} fxp_step;

/* FXP_OK if a sample can be added to the batch, else why not. */
fxp_status fxp_step_takes(const fxp_model *model, fxp_inputs inputs, fxp_goal goal);

/* Run a sample that is loaded, or whose values before stage `first` are, through the stages from there on, as the next of
 * the batch, which has room. */
void fxp_step_add(fxp_model *model, int32_t first, fxp_goal goal);

/* Whether a rate is mantissa * 2^-shift in the range of FXP_RATE_LEAST_SHIFT, which counts for a mantissa of 15 bits. */
int32_t fxp_rate_is_good(fxp_multiplier rate);

/* Error formats of this step from the scales, from the loss down: never finer than the sums. */
void fxp_step_scales(fxp_step *step);

/* Error at the output of stage `i` of all samples: of the last one from the loss, whose sum and correct answers are noted;
 * of others from the errors of all stages that read it. With `look`, only the largest sum is noted. */
void fxp_step_error(fxp_step *step, int32_t i, int32_t look);

/* Let the sums of one sample pass where its values do not keep them back, note the largest absolute one, and round them to
 * `out` (NULL: only look): those of several readers, if `joined` is not NULL. */
void fxp_step_pass(fxp_step *step, int32_t i, int32_t n, const fxp_error_sum *sums, const int64_t *joined, fxp_site *site,
                   fxp_error *out);

static inline uint64_t fxp_larger(uint64_t peak, int64_t value)
{
    const uint64_t size = (value < 0) ? (uint64_t)-value : (uint64_t)value;
    return (size > peak) ? size : peak;
}

#if FXP_MASKS

/* Note of sample `n` to which values of the output of stage `i` errors will pass, where nothing else is kept of them. */
void fxp_step_mask(const fxp_model *model, int32_t i, int32_t n);

#endif

/* Exact gradients of stage `i`, two output channels at a time: each is used for the update at once, or with `peaks`
 * only its largest absolute weight and bias gradients are noted there. */
void fxp_step_gradient(fxp_step *step, int32_t i, uint64_t *peaks);

/* The stage from which on all samples of the batch ran. */
static inline int32_t fxp_first_run(const fxp_model *model)
{
#if FXP_REPLAY > 0
    return model->first;
#else
    (void)model;
    return 0;
#endif
}

/* Adapt the formats of all stages that ran and move the parameters to their new grids; `model->step` steps are finished,
 * the last one of `count` samples. Where it is not due, only outputs adapt that overran their format. */
void fxp_adapt(fxp_model *model, int32_t count, int32_t due);

#endif

#endif
