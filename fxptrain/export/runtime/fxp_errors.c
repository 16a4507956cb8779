/* The half of a step that makes errors: scales, the loss, and the error of a tensor from those of its readers. */
#include <string.h>

#include "fxp_kinds.h"
#include "fxp_loss.h"
#include "fxp_step.h"

#if FXP_TRAINING

/* Fractional bits of what a reader hands back. */
static int32_t handed_frac(const fxp_step *step, const fxp_reader *reader)
{
    return step->error_frac[reader->stage] + fxp_kind_fracs(step->model, &fxp_stages[reader->stage]).error_frac;
}

/* Fractional bits of the sums that the error at the output of stage `i` is rounded from. */
static int32_t sum_frac_of(const fxp_step *step, int32_t i)
{
    const fxp_tensor *tensor = &fxp_tensors[i + 1];
    fxp_grid grid = fxp_grid_none();
    int32_t k;
    if (tensor->readers == 0) {
#if FXP_CROSS_ENTROPY || FXP_LEARNS_LABELS
        return FXP_LOSS_FRAC;
#elif FXP_WEIGHT_FRAC > 0
        return step->model->forms[tensor->form].frac + FXP_WEIGHT_FRAC;
#else
        return step->model->forms[tensor->form].frac;
#endif
    }
    for (k = 0; k < tensor->readers; k++) {
        const fxp_reader *reader = &fxp_readers[tensor->first_reader + k];
        fxp_grid_add(&grid, handed_frac(step, reader), reader->room);
    }
    return fxp_grid_frac(&grid) + fxp_added_frac(&fxp_stages[i]);
}

void fxp_step_scales(fxp_step *step)
{
    int32_t i;
    for (i = FXP_STAGES - 1; i >= FXP_FIRST_ERROR; i--) {
        if (fxp_needs_error(i)) {
            const int32_t frac = step->model->scales[i].frac, sum_frac = sum_frac_of(step, i);
            step->sum_frac[i] = sum_frac;
            step->error_frac[i] = (frac < sum_frac) ? frac : sum_frac;
        }
    }
}

/* Rounding site of the error at the output of stage `i`. */
static fxp_site error_site(const fxp_step *step, int32_t i)
{
    const int32_t shift = step->sum_frac[i] - step->error_frac[i];
    return fxp_site_at((shift > 62) ? 62 : shift, FXP_ERROR_STOCHASTIC, FXP_ERROR_BITS, fxp_tensors[i + 1].error_stream,
                       step->model->step);
}

/* Error at the logits of all samples, loss and correct answers. */
static void loss_error(fxp_step *step)
{
    const int32_t last = FXP_STAGES - 1;
    const int32_t frac = step->model->forms[fxp_tensors[last + 1].form].frac;
    fxp_site site = error_site(step, last);
    fxp_error *error = (fxp_error *)fxp_place(step->model, fxp_tensors[last + 1].error_at);
    int64_t *sums = (int64_t *)fxp_place(step->model, FXP_LOSS_AT);
    int32_t n, c, at = 0;
    step->loss_sum = 0;
    step->correct = 0;
    step->largest[last] = 0;
    for (n = 0; n < step->count; n++) {
        const fxp_value *logits = fxp_y_of(step->model, last, n);
        const fxp_goal goal = fxp_goal_at(step->model->goals, n);
        step->correct += fxp_is_right(logits, goal);
        step->loss_sum += fxp_loss_sums(logits, frac, goal, sums);
        for (c = 0; c < FXP_OUTPUTS; c++, at++) {
            step->largest[last] = fxp_larger(step->largest[last], sums[c]);
            error[at] = (fxp_error)fxp_requantize(&site, sums[c], (uint32_t)at);
        }
    }
    step->saturated[last] = site.saturated;
}

/* What a reader hands back of sample `n`: exact sums. */
static void hand_back(const fxp_step *step, const fxp_reader *reader, int32_t n, int32_t elements, fxp_error_sum *sums)
{
    const fxp_stage *s = &fxp_stages[reader->stage];
    const int32_t outputs = fxp_tensors[reader->stage + 1].elements;
    const fxp_error *error = (const fxp_error *)fxp_place(step->model, fxp_tensors[reader->stage + 1].error_at);
    const uint8_t *winners = (s->winners_at == FXP_NOWHERE) ? NULL : (const uint8_t *)fxp_place(step->model, s->winners_at);
    fxp_backward pass;
    pass.model = step->model;
    pass.stage = s;
    pass.weights = (s->w_form >= 0) ? fxp_weights_of(step->model, reader->stage) : NULL;
    pass.x = fxp_x_of(step->model, s, reader->slot, n);
    pass.winners = (winners == NULL) ? NULL : (winners + n * outputs);
    pass.error = error + n * outputs;
    pass.slot = reader->slot;
    pass.sample = n;
    memset(sums, 0, (size_t)elements * sizeof(fxp_error_sum));
    fxp_kind_input_error(&pass, sums);
}

/* Add sums, shifted by `lift`, to those of other readers. */
static void join(int64_t *joined, const fxp_error_sum *sums, int32_t elements, int32_t lift)
{
    int32_t i;
    for (i = 0; i < elements; i++) {
        joined[i] += fxp_lifted(sums[i], lift);
    }
}

void fxp_step_error(fxp_step *step, int32_t i, int32_t look)
{
    const fxp_tensor *tensor = &fxp_tensors[i + 1];
    const int32_t elements = tensor->elements;
    fxp_error_sum *sums = (fxp_error_sum *)fxp_place(step->model, tensor->sums_at);
    int64_t *joined = (tensor->readers > 1) ? (int64_t *)fxp_place(step->model, tensor->joined_at) : NULL;
    fxp_error *out = (fxp_error *)fxp_place(step->model, tensor->error_at);
    fxp_site site = error_site(step, i);
    int32_t n, k;
    if (tensor->readers == 0) {
        loss_error(step);
        return;
    }
    step->largest[i] = 0;
    for (n = 0; n < step->count; n++) {
        if (joined != NULL) {
            memset(joined, 0, (size_t)elements * sizeof(int64_t));
        }
        for (k = 0; k < tensor->readers; k++) {
            const fxp_reader *reader = &fxp_readers[tensor->first_reader + k];
            hand_back(step, reader, n, elements, sums);
            if (joined != NULL) {
                int32_t lift = step->sum_frac[i] - handed_frac(step, reader);
#if FXP_FUNCTIONS
                lift -= fxp_stages[i].added_frac; /* which comes behind the sum */
#endif
                join(joined, sums, elements, (lift < -62) ? -62 : lift);
            }
        }
        fxp_step_pass(step, i, n, sums, joined, &site, look ? NULL : (out + n * elements));
    }
    step->saturated[i] = site.saturated;
}

#endif
