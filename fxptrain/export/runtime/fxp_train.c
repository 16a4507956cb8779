/* One training step: forward, then from the loss back the errors of all tensors, gradients and updates.
 *
 * Every scale is known before the data (delayed scaling), so a stage may be updated before the errors below it are known:
 * the bits are those of updating all stages at the end, and an error map lives for as long as its readers need it only.
 */
#include <string.h>

#include "fxp.h"
#include "fxp_formats.h"
#include "fxp_multiplier.h"
#include "fxp_stage.h"
#include "fxp_step.h"

#if FXP_TRAINING

/* Forward of all samples, rounded as in training. */
static void forward(fxp_step *step, fxp_inputs inputs, int32_t count_formats)
{
    fxp_site sites[FXP_STAGES];
    int32_t n, i;
    for (i = 0; i < FXP_STAGES; i++) {
        sites[i] = fxp_forward_site(step->model, i, FXP_FORWARD_STOCHASTIC);
    }
    for (n = 0; n < step->count; n++) {
        fxp_load_input(step->model, inputs, n, n);
        for (i = 0; i < FXP_STAGES; i++) {
            fxp_forward_stage(step->model, i, n, i >= FXP_FIRST_TRAINED, &sites[i]);
        }
    }
    for (i = 0; (i < FXP_STAGES) && count_formats; i++) {
        const fxp_stage *s = &fxp_stages[i];
        if (s->rounds) {
            fxp_form_note(&step->model->forms[fxp_tensors[i + 1].form], sites[i].saturated,
                          (uint32_t)(step->count * s->oh * s->ow * s->co), sites[i].largest);
        }
    }
}

/* Fit the momentum formats to the largest gradients (weights, bias) of all stages. */
static void fit_momentum(fxp_step *step, uint64_t peaks[FXP_STAGES][2])
{
    uint64_t any = 0;
    int32_t i;
    for (i = FXP_FIRST_TRAINED; i < FXP_STAGES; i++) {
        any |= peaks[i][0] | peaks[i][1];
    }
    for (i = FXP_FIRST_TRAINED; (i < FXP_STAGES) && (any != 0); i++) {
        const fxp_stage *s = &fxp_stages[i];
        if (s->w_form >= 0) {
            const int32_t frac = step->error_frac[i];
            const int32_t frac_x = fxp_x_frac(step->model, s, 0);
            const int32_t finest = fxp_momentum_fitting(peaks[i][0], frac + frac_x, step->count, 60);
            step->model->forms[s->w_form + 1].frac = fxp_momentum_fitting(peaks[i][1], frac, step->count, finest);
        }
    }
}

/* Before the first step: fit every error scale, from the loss down, then the momentum formats, to this batch. */
static void calibrate(fxp_step *step, fxp_inputs inputs)
{
    fxp_scale *scales = step->model->scales;
    uint64_t peaks[FXP_STAGES][2];
    int32_t k;
    memset(peaks, 0, sizeof(peaks));
    forward(step, inputs, 0);
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
    for (i = FXP_FIRST_TRAINED; i < FXP_STAGES; i++) {
        fxp_scale_note(&step->model->scales[i], step->largest[i], step->sum_frac[i]);
    }
}

static int32_t acceptable(const uint16_t *labels, int32_t count)
{
    int32_t n;
    if ((count < 1) || (count > FXP_BATCH)) {
        return 0;
    }
    for (n = 0; n < count; n++) {
        if (labels[n] >= FXP_OUTPUTS) {
            return 0;
        }
    }
    return 1;
}

static fxp_result train(fxp_model *model, fxp_inputs inputs, const uint16_t *labels, int32_t count, fxp_multiplier rate)
{
    fxp_result result = {0, 0, 0};
    fxp_step step;
    if (!acceptable(labels, count)) {
        return result;
    }
    step.model = model;
    step.labels = labels;
    step.count = count;
    step.rate = rate;
    if (!model->calibrated) {
        calibrate(&step, inputs);
    }
    fxp_step_scales(&step);
    forward(&step, inputs, 1);
    backward(&step);
    model->step++;
#if FXP_ADAPT_EVERY > 0
    if (model->step % FXP_ADAPT_EVERY == 0) {
        fxp_adapt(model);
    }
#endif
    result.loss_sum = step.loss_sum;
    result.correct = step.correct;
    result.samples = count;
    return result;
}

fxp_result fxp_train_step(fxp_model *model, const uint8_t *pixels, const uint16_t *labels, int32_t count,
                          fxp_multiplier rate)
{
    fxp_inputs inputs;
    inputs.pixels = pixels;
    inputs.raw = NULL;
    return train(model, inputs, labels, count, rate);
}

fxp_result fxp_train_step_raw(fxp_model *model, const fxp_value *raw, const uint16_t *labels, int32_t count,
                              fxp_multiplier rate)
{
    fxp_inputs inputs;
    inputs.pixels = NULL;
    inputs.raw = raw;
    return train(model, inputs, labels, count, rate);
}

fxp_multiplier fxp_rate_default(void)
{
    static const fxp_multiplier rate = {FXP_RATE_MANTISSA, FXP_RATE_SHIFT};
    return rate;
}

fxp_multiplier fxp_rate_ratio(uint64_t numerator, uint64_t denominator)
{
    return fxp_multiplier_ratio(numerator, denominator);
}

fxp_multiplier fxp_rate_halved(fxp_multiplier rate)
{
    return fxp_multiplier_halved(rate);
}

#endif
