#include "fxp_model.h"

#include <string.h>

#include "fxp.h"
#include "fxp_kinds.h"
#include "fxp_loss.h"
#include "fxp_some.h"

int32_t fxp_ready(const fxp_model *model)
{
    return (model != NULL) && (model->identity == FXP_IDENTITY);
}

/* A tensor's values of one sample. */
static fxp_value *values_of(const fxp_model *model, const fxp_tensor *tensor, int32_t sample)
{
    fxp_value *first = (fxp_value *)fxp_place(model, tensor->at);
    return first + tensor->step * (uint32_t)sample;
}

fxp_value *fxp_x_of(const fxp_model *model, const fxp_stage *stage, int32_t k, int32_t sample)
{
    return values_of(model, fxp_input_of(stage, k), sample);
}

fxp_value *fxp_y_of(const fxp_model *model, int32_t stage, int32_t sample)
{
    return values_of(model, &fxp_tensors[stage + 1], sample);
}

/* What is trained, and packed weights that errors are multiplied by, lie in the arena; the others where they were exported,
 * and so do all of a stage whose trained ones lie apart. */
FXP_ROM fxp_param *fxp_weights_of(const fxp_model *model, int32_t stage)
{
    const fxp_stage *s = &fxp_stages[stage];
    FXP_ROM fxp_param *weights = NULL;
#if !FXP_PACKED
    weights = s->weights;
#endif
#if FXP_TRAINING
    if ((s->weights_at != FXP_NOWHERE) && !fxp_is_apart(s)) {
        weights = (const fxp_param *)fxp_place(model, s->weights_at);
    }
#else
    (void)model;
    (void)s;
#endif
    return weights;
}

FXP_ROM fxp_param *fxp_bias_of(const fxp_model *model, int32_t stage)
{
    const fxp_stage *s = &fxp_stages[stage];
#if FXP_TRAINING
    if (s->bias_at != FXP_NOWHERE) {
        return (const fxp_param *)fxp_place(model, s->bias_at);
    }
#else
    (void)model;
#endif
    return s->bias;
}

/* What an address must be a multiple of for the widest number. */
struct fxp_alignment {
    uint8_t first;
    int64_t second;
};

fxp_status fxp_init(fxp_model *model, void *arena)
{
    int32_t i;
    if ((model == NULL) || (arena == NULL) || (((uintptr_t)arena % offsetof(struct fxp_alignment, second)) != 0u)) {
        return FXP_BAD_ARGUMENT;
    }
    model->arena = (uint8_t *)arena;
    for (i = 0; i < FXP_FORMS; i++) {
        model->forms[i].frac = fxp_form_starts[i].frac;
#if FXP_TRAINING
        model->forms[i].largest = fxp_form_starts[i].largest;
        model->forms[i].saturated = fxp_form_starts[i].saturated;
        model->forms[i].total = fxp_form_starts[i].total;
#endif
    }
#if FXP_TRAINING
    model->step = FXP_START_STEP;
    model->calibrated = FXP_START_CALIBRATED;
    model->pending = 0;
    for (i = 0; i < FXP_STAGES; i++) {
        model->scales[i] = fxp_scale_starts[i];
        fxp_copy_start(model, i);
    }
#endif
    model->identity = FXP_IDENTITY;
    return FXP_OK;
}

/* Whether a value's container holds numbers that are no values. */
#define FXP_SPARE_BITS ((FXP_VALUE_BITS != 8) && (FXP_VALUE_BITS != 16) && (FXP_VALUE_BITS != 32))

int32_t fxp_are_inputs(fxp_inputs inputs, int32_t count)
{
#if FXP_SPARE_BITS
    const fxp_value *raw = inputs.raw;
    const size_t values = (size_t)count * FXP_INPUTS;
    size_t i;
#if !FXP_PIXELS
    raw = (inputs.given != NULL) ? inputs.given : raw;
#endif
    for (i = 0; (raw != NULL) && (i < values); i++) {
        if ((raw[i] < FXP_MIN_RAW(FXP_VALUE_BITS)) || (raw[i] > FXP_MAX_RAW(FXP_VALUE_BITS))) {
            return 0;
        }
    }
#else
    (void)count;
#endif
    return (inputs.given != NULL) || (inputs.raw != NULL);
}

void fxp_load_input(const fxp_model *model, fxp_inputs inputs, int32_t sample, int32_t place_of)
{
    fxp_value *x = values_of(model, &fxp_tensors[0], place_of);
    const size_t first = (size_t)sample * FXP_INPUTS;
#if FXP_PIXELS
    if (inputs.given != NULL) {
        fxp_look_up(inputs.given + first, x);
    }
#else
    inputs.raw = (inputs.given != NULL) ? inputs.given : inputs.raw;
#endif
    if (inputs.raw != NULL) {
        memcpy(x, inputs.raw + first, FXP_INPUTS * sizeof(fxp_value));
    }
}

const fxp_value *fxp_loaded_input(const fxp_model *model, int32_t place)
{
    return values_of(model, &fxp_tensors[0], place);
}

fxp_site fxp_forward_site(const fxp_model *model, int32_t stage, int32_t stochastic)
{
    const fxp_stage *s = &fxp_stages[stage];
    const int32_t sum_frac = fxp_kind_fracs(model, s).frac + fxp_added_frac(s);
    const int32_t shift = sum_frac - model->forms[fxp_tensors[stage + 1].form].frac;
    uint32_t step = 0;
#if FXP_TRAINING
    step = model->step;
#endif
    return fxp_site_at(shift, stochastic, FXP_VALUE_BITS, fxp_stream(s->layer, FXP_SITE_FORWARD), step);
}

#if FXP_FUNCTIONS

/* A bound of outputs, without its sign, on the grid of sums that are shifted to them. */
static int64_t on_sums(int64_t most, int32_t shift)
{
    return (shift < 0) ? fxp_shift_right(most, (shift < -62) ? 62 : -shift) : fxp_shift_left(most, shift);
}

/* The bounds of a stage's function, for outputs with `frac` fractional bits; one that the format does not hold is none. */
static void bound(fxp_forward *pass, int32_t frac, int32_t shift)
{
    const fxp_bounds found = fxp_function_bounds(pass->stage, frac);
    pass->outputs.low = FXP_MIN_RAW(FXP_VALUE_BITS);
    pass->outputs.high = FXP_MAX_RAW(FXP_VALUE_BITS);
    pass->bounds.low = INT64_MIN;
    pass->bounds.high = INT64_MAX;
    if (found.low >= pass->outputs.low) {
        pass->outputs.low = found.low;
        pass->bounds.low = -on_sums(-found.low, shift);
    }
    if (found.high <= pass->outputs.high) {
        pass->outputs.high = found.high;
        pass->bounds.high = on_sums(found.high, shift);
    }
}

#endif

void fxp_forward_stage(fxp_model *model, int32_t stage, int32_t sample, int32_t keep, fxp_site *site)
{
    const fxp_stage *s = &fxp_stages[stage];
    const int32_t elements = s->oh * s->ow * s->co;
    const int32_t frac_x = fxp_x_frac(model, s, 0);
    fxp_forward pass;
    int32_t k;
    pass.model = model;
    pass.stage = s;
    pass.weights = (s->w_form >= 0) ? fxp_weights_of(model, stage) : NULL;
    pass.bias = (s->w_form >= 0) ? fxp_bias_of(model, stage) : NULL;
#if FXP_PACKED
    pass.panel = (fxp_param *)fxp_place(model, s->panel_at);
#else
    pass.panel = NULL;
#endif
    for (k = 0; k < s->inputs; k++) {
        pass.xs[k] = fxp_x_of(model, s, k, sample);
    }
    pass.x = fxp_x_of(model, s, 0, sample);
    pass.y = fxp_y_of(model, stage, sample);
    pass.winners = NULL;
    pass.patches = (fxp_value *)fxp_place(model, s->scratch_at);
    pass.site = site;
    pass.first = (uint32_t)(sample * elements);
    pass.lift = (frac_x < 0) ? -frac_x : 0;
    pass.bias_shift = ((frac_x > 0) ? frac_x : 0) + s->coarser_bias;
#if FXP_TRAINING
    if (keep && (s->winners_at != FXP_NOWHERE)) {
        uint8_t *winners = (uint8_t *)fxp_place(model, s->winners_at);
        pass.winners = winners + sample * elements;
    }
#else
    (void)keep;
#endif
#if FXP_FUNCTIONS
    bound(&pass, model->forms[fxp_tensors[stage + 1].form].frac, site->shift);
#endif
    fxp_kind_forward(&pass);
}

const fxp_value *fxp_logits_of(fxp_model *model, fxp_inputs inputs)
{
    int32_t i, n = 0;
#if FXP_TRAINING
    n = model->pending;
    if (n >= FXP_BATCH) {
        return NULL;
    }
#endif
    fxp_load_input(model, inputs, 0, n);
    for (i = 0; i < FXP_STAGES; i++) {
        fxp_site site = fxp_forward_site(model, i, 0);
        site.uncounted = 1;
        fxp_forward_stage(model, i, n, 0, &site);
    }
    return fxp_y_of(model, FXP_STAGES - 1, n);
}

static int32_t predict(fxp_model *model, fxp_inputs inputs, int32_t *logits)
{
    const fxp_value *last;
    int32_t i;
    if (!fxp_ready(model)) {
        return FXP_NOT_READY;
    }
    if (!fxp_are_inputs(inputs, 1)) {
        return FXP_BAD_ARGUMENT;
    }
    last = fxp_logits_of(model, inputs);
    if (last == NULL) {
        return FXP_FULL;
    }
    for (i = 0; (i < FXP_OUTPUTS) && (logits != NULL); i++) {
        logits[i] = last[i];
    }
    return fxp_first_largest(last);
}

int32_t fxp_predict(fxp_model *model, const fxp_input *inputs, int32_t *logits)
{
    return predict(model, fxp_given(inputs), logits);
}

int32_t fxp_predict_raw(fxp_model *model, const fxp_value *inputs, int32_t *logits)
{
    return predict(model, fxp_raw(inputs), logits);
}

int32_t fxp_logit_frac(const fxp_model *model)
{
    const int32_t form = fxp_tensors[FXP_STAGES].form;
    return fxp_ready(model) ? model->forms[form].frac : fxp_form_starts[form].frac;
}
