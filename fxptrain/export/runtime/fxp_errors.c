/* The half of a step that makes errors: scales, loss, input errors. */
#include <string.h>

#include "fxp_conv.h"
#include "fxp_depthwise.h"
#include "fxp_loss.h"
#include "fxp_pool.h"
#include "fxp_step.h"

#if FXP_TRAINING

static void *place(const fxp_step *step, uint32_t at)
{
    return step->model->arena + at;
}

/* What the sums of the input error have more fractional bits than the output error. */
static int32_t added_frac(const fxp_model *model, const fxp_stage *stage)
{
    return (stage->w_form >= 0) ? model->forms[stage->w_form].frac : stage->mean.shift;
}

void fxp_step_scales(fxp_step *step)
{
    const fxp_model *model = step->model;
    int32_t i, sum_frac = FXP_PROBABILITY_FRAC;
#if !FXP_CROSS_ENTROPY
    sum_frac = model->forms[fxp_stages[FXP_STAGES - 1].y_form].frac;
#endif
    for (i = FXP_STAGES - 1; i >= FXP_FIRST_TRAINED; i--) {
        const int32_t frac = model->scales[i].frac;
        step->sum_frac[i] = sum_frac;
        step->error_frac[i] = (frac < sum_frac) ? frac : sum_frac;
        sum_frac = step->error_frac[i] + added_frac(model, &fxp_stages[i]);
    }
}

/* Rounding site of the error at the output of stage `i`, drawn by layer number `layer`. */
static fxp_site error_site(const fxp_step *step, int32_t i, int32_t layer)
{
    const int32_t shift = step->sum_frac[i] - step->error_frac[i];
    return fxp_site_at((shift > 62) ? 62 : shift, FXP_ERROR_STOCHASTIC, FXP_ERROR_BITS,
                       fxp_stream(layer, FXP_SITE_INPUT_ERROR), step->model->step);
}

void fxp_step_loss(fxp_step *step)
{
    const int32_t last = FXP_STAGES - 1;
    const int32_t frac = step->model->forms[fxp_stages[last].y_form].frac;
    fxp_site site = error_site(step, last, FXP_LAYERS);
    fxp_error *error = (fxp_error *)place(step, fxp_stages[last].error_at);
    int64_t *sums = (int64_t *)place(step, FXP_LOSS_AT);
    int32_t n, c, at = 0;
    step->loss_sum = 0;
    step->correct = 0;
    step->largest[last] = 0;
    for (n = 0; n < step->count; n++) {
        const fxp_value *logits = fxp_y_of(step->model, last, n);
        step->correct += (fxp_first_largest(logits) == (int32_t)step->labels[n]) ? 1 : 0;
        step->loss_sum += fxp_loss_sums(logits, frac, step->labels[n], sums);
        for (c = 0; c < FXP_OUTPUTS; c++, at++) {
            const uint64_t size = (sums[c] < 0) ? (uint64_t)-sums[c] : (uint64_t)sums[c];
            step->largest[last] = (size > step->largest[last]) ? size : step->largest[last];
            error[at] = (fxp_error)fxp_requantize(&site, sums[c], (uint32_t)at);
        }
    }
}

static void add_input_error(const fxp_backward *pass, fxp_error_sum *sums)
{
    switch (pass->stage->kind) {
#if FXP_BACK_CONV
    case FXP_CONV:
        fxp_conv2d_input_error(pass, sums);
        break;
#endif
#if FXP_BACK_DEPTHWISE
    case FXP_DEPTHWISE:
        fxp_depthwise_input_error(pass, sums);
        break;
#endif
#if FXP_BACK_MAXPOOL
    case FXP_MAXPOOL:
        fxp_maxpool_input_error(pass, sums);
        break;
#endif
#if FXP_BACK_AVGPOOL
    case FXP_AVGPOOL:
        fxp_averagepool_input_error(pass, sums);
        break;
#endif
    default:
        (void)sums;
        break;
    }
}

void fxp_step_input_error(fxp_step *step, int32_t i, int32_t look)
{
    const fxp_stage *s = &fxp_stages[i];
    const int32_t outputs = s->oh * s->ow * s->co, inputs = s->h * s->w * s->ci;
    const fxp_error *error = (const fxp_error *)place(step, s->error_at);
    const uint8_t *winners = (s->winners_at == FXP_NOWHERE) ? NULL : (const uint8_t *)place(step, s->winners_at);
    fxp_error *out = (fxp_error *)place(step, fxp_stages[i - 1].error_at);
    fxp_error_sum *sums = (fxp_error_sum *)place(step, s->input_sums_at);
    fxp_site site = error_site(step, i - 1, s->layer);
    int32_t n;
    step->largest[i - 1] = 0;
    for (n = 0; n < step->count; n++) {
        fxp_backward pass;
        pass.stage = s;
        pass.weights = (s->w_form >= 0) ? fxp_weights_of(step->model, i) : NULL;
        pass.x = fxp_x_of(step->model, i, n);
        pass.winners = (winners == NULL) ? NULL : (winners + n * outputs);
        pass.error = error + n * outputs;
        memset(sums, 0, (size_t)inputs * sizeof(fxp_error_sum));
        add_input_error(&pass, sums);
        fxp_finish_error(&pass, sums, &site, (uint32_t)(n * inputs), &step->largest[i - 1],
                         look ? NULL : (out + n * inputs));
    }
}

#endif
