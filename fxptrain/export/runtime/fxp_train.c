/* One training step: forward, then from the loss back the errors of all tensors, gradients and updates.
 *
 * Every scale is known before the data (delayed scaling), so a stage may be updated before the errors below it are known:
 * the bits are those of updating all stages at the end, and an error map lives for as long as its readers need it only.
 */
#include <string.h>

#include "fxp.h"
#include "fxp_formats.h"
#include "fxp_loss.h"
#include "fxp_multiplier.h"
#include "fxp_stage.h"
#include "fxp_step.h"

#if FXP_TRAINING

/* Forward of sample `n`, which stage `first` reads, rounded as in training; `seen`, where it is wanted, gathers what the
 * roundings report. */
static void forward(fxp_model *model, int32_t n, int32_t first, fxp_seen *seen)
{
    int32_t i;
    for (i = first; i < FXP_STAGES; i++) {
        fxp_site site = fxp_forward_site(model, i, FXP_FORWARD_STOCHASTIC);
        fxp_forward_stage(model, i, n, 1, &site);
#if FXP_MASKS
        fxp_step_mask(model, i, n);
#endif
        if (seen != NULL) {
            seen[i].saturated += site.saturated;
            seen[i].largest = (site.largest > seen[i].largest) ? site.largest : seen[i].largest;
        }
    }
}

/* Fit the momentum formats to the largest gradients (weights, bias) of all stages; those that are zero say nothing. */
static void fit_momentum(fxp_step *step, uint64_t peaks[FXP_STAGES][2])
{
    int32_t i;
    for (i = FXP_FIRST_ERROR; i < FXP_STAGES; i++) {
        const fxp_stage *s = &fxp_stages[i];
        if ((peaks[i][0] | peaks[i][1]) != 0) {
            const int32_t frac = step->error_frac[i];
            const int32_t frac_x = fxp_x_frac(step->model, s, 0);
            const int32_t finest = fxp_momentum_fitting(peaks[i][0], frac + frac_x, step->count, 60);
            step->model->forms[s->w_form + 1].frac = fxp_momentum_fitting(peaks[i][1], frac, step->count, finest);
        }
    }
}

/* Before the first step: fit every error scale, from the loss down, then the momentum formats, to this batch. Errors take
 * the place of values, which are computed again in the end. */
static void calibrate(fxp_step *step)
{
    fxp_scale *scales = step->model->scales;
    uint64_t peaks[FXP_STAGES][2];
    int32_t k, n;
    memset(peaks, 0, sizeof(peaks));
    fxp_step_scales(step);
    for (k = 0; k < FXP_ACTIONS; k++) {
        const int32_t i = fxp_actions[k].stage;
        if (!fxp_actions[k].updates) {
            fxp_step_error(step, i, 1);
            scales[i].frac = fxp_scale_fitting(step->largest[i], step->sum_frac[i]);
            fxp_step_scales(step);
            fxp_step_error(step, i, 0);
        } else if (FXP_FIT_MOMENTUM) {
            fxp_step_gradient(step, i, peaks[i]);
        }
    }
    if (FXP_FIT_MOMENTUM) {
        fit_momentum(step, peaks);
    }
    step->model->calibrated = 1;
    for (n = 0; n < step->count; n++) {
        forward(step->model, n, FXP_FIRST_ERROR, NULL);
    }
}

static void backward(fxp_step *step)
{
    int32_t i, k;
    for (k = 0; k < FXP_ACTIONS; k++) {
        if (fxp_actions[k].updates) {
            fxp_step_gradient(step, fxp_actions[k].stage, NULL);
        } else {
            fxp_step_error(step, fxp_actions[k].stage, 0);
        }
    }
    for (i = FXP_FIRST_ERROR; i < FXP_STAGES; i++) {
        if (fxp_needs_error(i)) {
            const uint32_t total = (uint32_t)(step->count * fxp_tensors[i + 1].elements);
            fxp_scale_note(&step->model->scales[i], step->largest[i], step->sum_frac[i], step->saturated[i], total);
        }
    }
}

int32_t fxp_rate_is_good(fxp_multiplier rate)
{
    if ((rate.mantissa < 0) || (rate.mantissa >= 32768) || (rate.shift > 128) || (rate.shift < -64)) {
        return 0;
    }
    while ((rate.mantissa > 0) && (rate.mantissa < 16384)) {
        rate.mantissa *= 2;
        rate.shift++;
    }
    return (rate.mantissa == 0) || (rate.shift >= FXP_RATE_LEAST_SHIFT);
}

static fxp_result refused(fxp_status status)
{
    fxp_result result = {0, 0, 0, 0, 0, FXP_OK};
    result.status = status;
    return result;
}

void fxp_step_add(fxp_model *model, int32_t first, fxp_goal goal)
{
    int32_t i;
    for (i = 0; (i < FXP_STAGES) && (model->pending == 0); i++) {
        model->seen[i].saturated = 0;
        model->seen[i].largest = 0;
    }
#if FXP_REPLAY > 0
    model->first = ((model->pending == 0) || (first > model->first)) ? first : model->first;
#endif
    fxp_goal_keep(model, model->pending, goal);
    forward(model, model->pending, first, model->seen);
    model->pending++;
}

fxp_status fxp_step_takes(const fxp_model *model, fxp_inputs inputs, fxp_goal goal)
{
    const fxp_status status = fxp_goal_status(goal);
    if (!fxp_ready(model)) {
        return FXP_NOT_READY;
    }
    if (!fxp_are_inputs(inputs, 1)) {
        return FXP_BAD_ARGUMENT;
    }
    if (status != FXP_OK) {
        return status;
    }
    return (model->pending < FXP_BATCH) ? FXP_OK : FXP_FULL;
}

/* Add sample `sample` of `inputs` to the batch. */
static fxp_status add(fxp_model *model, fxp_inputs inputs, int32_t sample, fxp_goal goal)
{
    const fxp_status status = fxp_step_takes(model, inputs, goal);
    if (status != FXP_OK) {
        return status;
    }
    fxp_load_input(model, inputs, sample, model->pending);
    fxp_step_add(model, 0, goal);
    return FXP_OK;
}

/* Report the batch's outputs to their formats. */
static void note_outputs(fxp_model *model, int32_t count, fxp_result *result)
{
    int32_t i;
    for (i = fxp_first_run(model); i < FXP_STAGES; i++) {
        const fxp_stage *s = &fxp_stages[i];
        if (s->rounds) {
            const uint32_t total = (uint32_t)(count * s->oh * s->ow * s->co);
            fxp_form_note(&model->forms[fxp_tensors[i + 1].form], model->seen[i].saturated, total, model->seen[i].largest);
            result->rounded += total;
            result->saturated += model->seen[i].saturated;
        }
    }
}

fxp_result fxp_train_finish(fxp_model *model, fxp_multiplier rate)
{
    fxp_result result = {0, 0, 0, 0, 0, FXP_OK};
    fxp_step step;
    if (!fxp_ready(model)) {
        return refused(FXP_NOT_READY);
    }
    if (!fxp_rate_is_good(rate)) {
        return refused(FXP_BAD_RATE);
    }
    if (model->pending == 0) {
        return refused(FXP_NOTHING);
    }
    step.model = model;
    step.count = model->pending;
    step.rate = rate;
    if (!model->calibrated) {
        calibrate(&step);
    }
    fxp_step_scales(&step);
    note_outputs(model, step.count, &result);
    backward(&step);
    model->pending = 0;
    model->step++;
#if FXP_ADAPT_EVERY > 0
    fxp_adapt(model, step.count, (model->step % FXP_ADAPT_EVERY == 0) ? 1 : 0);
#endif
    result.loss_sum = step.loss_sum;
    result.correct = step.correct;
    result.samples = step.count;
    return result;
}

void fxp_train_drop(fxp_model *model)
{
    if (fxp_ready(model)) {
        model->pending = 0;
    }
}

/* Everything is looked at before anything is done. */
static fxp_status looked_at(const fxp_model *model, fxp_inputs inputs, const fxp_goal_item *goals, int32_t count)
{
    const int32_t absent = (goals == NULL) && !FXP_LEARNS_INPUTS;
    int32_t n;
    if (!fxp_ready(model)) {
        return FXP_NOT_READY;
    }
    if (absent || (count < 1) || (count > FXP_BATCH) || !fxp_are_inputs(inputs, count)) {
        return FXP_BAD_ARGUMENT;
    }
    for (n = 0; n < count; n++) {
        const fxp_status status = fxp_goal_status(fxp_goal_at(goals, n));
        if (status != FXP_OK) {
            return status;
        }
    }
    return (model->pending > 0) ? FXP_FULL : FXP_OK;
}

static fxp_result train(fxp_model *model, fxp_inputs inputs, const fxp_goal_item *goals, int32_t count, fxp_multiplier rate)
{
    const fxp_status status = looked_at(model, inputs, goals, count);
    int32_t n;
    if (status != FXP_OK) {
        return refused(status);
    }
    if (!fxp_rate_is_good(rate)) {
        return refused(FXP_BAD_RATE);
    }
    for (n = 0; n < count; n++) {
        (void)add(model, inputs, n, fxp_goal_at(goals, n));
    }
    return fxp_train_finish(model, rate);
}

fxp_result fxp_train_step(fxp_model *model, const fxp_input *inputs, const fxp_goal_item *goals, int32_t count,
                          fxp_multiplier rate)
{
    return train(model, fxp_given(inputs), goals, count, rate);
}

fxp_result fxp_train_step_raw(fxp_model *model, const fxp_value *inputs, const fxp_goal_item *goals, int32_t count,
                              fxp_multiplier rate)
{
    return train(model, fxp_raw(inputs), goals, count, rate);
}

fxp_status fxp_train_add(fxp_model *model, const fxp_input *inputs, fxp_goal goal)
{
    return add(model, fxp_given(inputs), 0, goal);
}

fxp_status fxp_train_add_raw(fxp_model *model, const fxp_value *inputs, fxp_goal goal)
{
    return add(model, fxp_raw(inputs), 0, goal);
}

fxp_multiplier fxp_rate_default(void)
{
    static const fxp_multiplier rate = {FXP_RATE_MANTISSA, FXP_RATE_SHIFT};
    return rate;
}

fxp_multiplier fxp_rate_ratio(uint64_t numerator, uint64_t denominator)
{
    static const fxp_multiplier none = {-1, 0}; /* refused where it is used */
    static const uint64_t most = (uint64_t)1 << 40;
    if ((denominator == 0) || (numerator > most) || (denominator > most)) {
        return none;
    }
    return fxp_multiplier_ratio(numerator, denominator);
}

fxp_multiplier fxp_rate_halved(fxp_multiplier rate)
{
    return (rate.mantissa < 0) ? rate : fxp_multiplier_halved(rate);
}

#endif
