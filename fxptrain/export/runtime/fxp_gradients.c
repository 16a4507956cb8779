/* The half of a step that changes parameters: exact gradients, consumed by the update as soon as they are finished. */
#include <string.h>

#include "fxp_formats.h"
#include "fxp_kinds.h"
#include "fxp_multiplier.h"
#include "fxp_some.h"
#include "fxp_step.h"

#if FXP_TRAINING

static int32_t bit_length(int32_t value)
{
    int32_t bits = 0;
    while (value > 0) {
        value /= 2;
        bits++;
    }
    return bits;
}

#if FXP_FEEDBACK

/* What a momentum takes of what rounding added to its weight; without a learning rate nothing is added. */
static fxp_multiplier feedback_of(fxp_multiplier rate)
{
    static const fxp_multiplier returned = {FXP_RETURNED_MANTISSA, FXP_RETURNED_SHIFT};
    return (rate.mantissa == 0) ? rate : fxp_multiplier_over(returned, rate);
}

#endif

/* The update of a stage's weights, or of its bias. */
static fxp_update_site update_site(const fxp_step *step, int32_t i, int32_t is_bias)
{
    static const fxp_multiplier keep = {FXP_MOMENTUM_MANTISSA, FXP_MOMENTUM_SHIFT};
    static const fxp_multiplier decay = {FXP_DECAY_MANTISSA, FXP_DECAY_SHIFT};
    const fxp_model *model = step->model;
    const fxp_stage *s = &fxp_stages[i];
    const int32_t frac_w = model->forms[s->w_form].frac - (is_bias ? s->coarser_bias : 0);
    const int32_t frac_m = model->forms[s->w_form + 1].frac;
    const int32_t frac_g = step->error_frac[i] + (is_bias ? 0 : fxp_x_frac(model, s, 0));
    const int32_t bits = (is_bias ? 0 : (FXP_VALUE_BITS - 1)) + FXP_ERROR_BITS - 1 + bit_length(step->count * s->oh * s->ow);
    const fxp_multiplier mean = fxp_multiplier_ratio(1, (uint64_t)(uint32_t)step->count);
    fxp_update_site site;
    site.keep = fxp_term_of(keep, frac_m, frac_m, FXP_MOMENTUM_BITS - 1);
    site.gradient = fxp_term_of(mean, frac_g, frac_m, bits);
    site.decay = fxp_term_of(decay, frac_w, frac_m, FXP_PARAM_BITS - 1);
#if FXP_FEEDBACK
    site.rate = fxp_term_of(step->rate, frac_m + FXP_KEPT, frac_w, FXP_MOMENTUM_BITS - 1 + FXP_KEPT);
    site.feedback = fxp_term_of(feedback_of(step->rate), frac_w + FXP_KEPT, frac_m, FXP_KEPT + 1);
#else
    site.rate = fxp_term_of(step->rate, frac_m, frac_w, FXP_MOMENTUM_BITS - 1);
#endif
    fxp_update_begin(&site);
    site.momentum_site = fxp_site_at(28, FXP_UPDATE_STOCHASTIC, FXP_MOMENTUM_BITS,
                                     fxp_stream(s->layer, is_bias ? FXP_SITE_BIAS_MOMENTUM : FXP_SITE_WEIGHT_MOMENTUM),
                                     model->step);
    site.site = fxp_site_at(28, FXP_UPDATE_STOCHASTIC, FXP_PARAM_BITS,
                            fxp_stream(s->layer, is_bias ? FXP_SITE_BIAS : FXP_SITE_WEIGHT), model->step);
    return site;
}

/* Gradient of the bias of channel `c` over the batch. */
static int64_t bias_gradient_of(const fxp_step *step, int32_t i, int32_t c)
{
    const fxp_stage *s = &fxp_stages[i];
    const int32_t outputs = step->count * s->oh * s->ow * s->co;
    const fxp_error *error = (const fxp_error *)fxp_place(step->model, fxp_tensors[i + 1].error_at);
    int64_t total = 0;
    int32_t at;
    for (at = c; at < outputs; at += s->co) {
        total += error[at];
    }
    return total;
}

/* Gradient of the weights of channel `c` over the batch to sums (taps). */
static void gradient_of(const fxp_step *step, int32_t i, int32_t c, fxp_gradient_sum *sums)
{
    const fxp_stage *s = &fxp_stages[i];
    const int32_t outputs = s->oh * s->ow * s->co;
    const fxp_error *error = (const fxp_error *)fxp_place(step->model, fxp_tensors[i + 1].error_at);
    const uint8_t *winners = (s->winners_at == FXP_NOWHERE) ? NULL : (const uint8_t *)fxp_place(step->model, s->winners_at);
    int32_t n;
    memset(sums, 0, (size_t)s->taps * sizeof(fxp_gradient_sum));
    for (n = 0; n < step->count; n++) {
        fxp_backward pass;
        pass.model = step->model;
        pass.stage = s;
        pass.weights = NULL;
        pass.x = fxp_x_of(step->model, s, 0, n);
        pass.slot = 0;
        pass.sample = n;
        pass.winners = (winners == NULL) ? NULL : (winners + n * outputs);
        pass.error = error + n * outputs;
        fxp_kind_weight_gradient(&pass, c, sums);
    }
}

/* Update `channels` channels from c on: neighbours in the numbering of draws share blocks of the generator. */
static void update_weights(const fxp_step *step, int32_t i, int32_t c, int32_t channels, const fxp_gradient_sum *sums,
                           fxp_update_site *site)
{
    const fxp_stage *s = &fxp_stages[i];
    fxp_param *weights = (fxp_param *)fxp_place(step->model, s->weights_at);
    fxp_momentum *momentum = (fxp_momentum *)fxp_place(step->model, s->weights_momentum_at);
    fxp_update_weights(site, weights + fxp_arena_row(s, c) * s->taps, momentum + fxp_row_of(s, c) * s->taps, sums, channels,
                       s->taps, (uint32_t)c, (uint32_t)s->co);
}

static void note(fxp_model *model, const fxp_stage *s, const fxp_update_site *site, int32_t total)
{
    const int32_t most = FXP_MAX_RAW(FXP_PARAM_BITS);
    const int32_t largest = (site->site.largest > most) ? most : site->site.largest;
    fxp_form_note(&model->forms[s->w_form], site->site.saturated, (uint32_t)total, largest);
    fxp_form_note(&model->forms[s->w_form + 1], site->momentum_site.saturated, (uint32_t)total, site->momentum_site.largest);
}

static void weights_step(fxp_step *step, int32_t i, uint64_t *peak)
{
    const fxp_stage *s = &fxp_stages[i];
    const int32_t taps = s->taps;
    fxp_gradient_sum *sums = (fxp_gradient_sum *)fxp_place(step->model, s->gradient_at);
    fxp_update_site site = update_site(step, i, 0);
    int32_t c, j, k, channels;
    for (c = 0; c < s->co; c += channels) { /* two at a time, but where some are trained */
        channels = ((c + 1 < s->co) && !fxp_trains_some(s)) ? 2 : 1;
        if (fxp_row_of(s, c) < 0) {
            continue;
        }
        for (j = 0; j < channels; j++) {
            gradient_of(step, i, c + j, sums + j * taps);
            for (k = 0; (k < taps) && (peak != NULL); k++) {
                *peak = fxp_larger(*peak, sums[j * taps + k]);
            }
        }
        if (peak == NULL) {
            update_weights(step, i, c, channels, sums, &site);
        }
    }
    if (peak == NULL) {
        note(step->model, s, &site, taps * fxp_learning(s));
    }
}

static void bias_step(fxp_step *step, int32_t i, uint64_t *peak)
{
    const fxp_stage *s = &fxp_stages[i];
    fxp_update_site site = update_site(step, i, 1);
    fxp_param *bias = (fxp_param *)fxp_place(step->model, s->bias_at);
    fxp_momentum *momentum = (fxp_momentum *)fxp_place(step->model, s->bias_momentum_at);
    int32_t c;
    for (c = 0; c < s->co; c++) {
        const int32_t row = fxp_row_of(s, c);
        const int64_t total = (row < 0) ? 0 : bias_gradient_of(step, i, c);
        if (peak != NULL) {
            *peak = fxp_larger(*peak, total);
        } else if (row >= 0) {
            fxp_update(&site, &bias[c], &momentum[row], total, (uint32_t)c);
        }
    }
    if (peak == NULL) {
        note(step->model, s, &site, fxp_learning(s));
    }
}

void fxp_step_gradient(fxp_step *step, int32_t i, uint64_t *peaks)
{
    const fxp_stage *s = &fxp_stages[i];
    if (fxp_trains_weights(s)) {
        weights_step(step, i, (peaks == NULL) ? NULL : &peaks[0]);
    }
    if (fxp_trains_bias(s)) {
        bias_step(step, i, (peaks == NULL) ? NULL : &peaks[1]);
    }
}

#endif
