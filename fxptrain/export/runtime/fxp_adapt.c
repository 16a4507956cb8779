/* Formats follow the data: at fixed steps every tensor's format is adapted and its parameters move to the new grid; outputs
 * of which far too many values saturate in a step do not wait. */
#include "fxp_formats.h"
#include "fxp_kinds.h"
#include "fxp_some.h"
#include "fxp_step.h"

#if FXP_TRAINING

/* Rounding site of a move to a grid finer by `change` bits. */
static fxp_site regrid_site(const fxp_model *model, const fxp_stage *s, int32_t change, int32_t bits, int32_t kind)
{
    return fxp_site_at(-change, FXP_UPDATE_STOCHASTIC, bits, fxp_stream(s->layer, kind), model->step);
}

/* Move (co, taps) parameters, whose draws are numbered (taps, co). Of which some are trained stay on their grid. */
static void regrid_params(fxp_param *values, fxp_site site, int32_t taps, int32_t co)
{
    int32_t c, k;
    for (k = 0; k < taps; k++) {
        for (c = 0; c < co; c++) {
            values[c * taps + k] = (fxp_param)fxp_requantize(&site, values[c * taps + k], (uint32_t)(k * co + c));
        }
    }
}

static void regrid_momentum(fxp_momentum *values, fxp_site site, int32_t taps, const fxp_stage *s)
{
    int32_t c, k;
    for (k = 0; k < taps; k++) {
        for (c = 0; c < s->co; c++) {
            const int32_t at = fxp_row_of(s, c) * taps + k;
            if (at >= 0) {
                values[at] = (fxp_momentum)fxp_requantize(&site, values[at], (uint32_t)(k * s->co + c));
            }
        }
    }
}

static void regrid(fxp_model *model, const fxp_stage *s, int32_t change, int32_t momentum_change)
{
    const int32_t taps = s->taps;
    if ((change != 0) && fxp_trains_weights(s)) {
        regrid_params((fxp_param *)fxp_place(model, s->weights_at),
                      regrid_site(model, s, change, FXP_PARAM_BITS, FXP_SITE_WEIGHT_REGRID), taps, s->co);
    }
    if ((change != 0) && fxp_trains_bias(s)) {
        regrid_params((fxp_param *)fxp_place(model, s->bias_at),
                      regrid_site(model, s, change, FXP_PARAM_BITS, FXP_SITE_BIAS_REGRID), 1, s->co);
    }
    if ((momentum_change != 0) && fxp_trains_weights(s)) {
        regrid_momentum((fxp_momentum *)fxp_place(model, s->weights_momentum_at),
                        regrid_site(model, s, momentum_change, FXP_MOMENTUM_BITS, FXP_SITE_WEIGHT_MOMENTUM_REGRID), taps, s);
    }
    if ((momentum_change != 0) && fxp_trains_bias(s)) {
        regrid_momentum((fxp_momentum *)fxp_place(model, s->bias_momentum_at),
                        regrid_site(model, s, momentum_change, FXP_MOMENTUM_BITS, FXP_SITE_BIAS_MOMENTUM_REGRID), 1, s);
    }
}

/* Whether the output of stage `i` overran its format in the step of `count` samples. */
static int32_t overran(const fxp_model *model, int32_t i, int32_t count)
{
    const fxp_stage *s = &fxp_stages[i];
    const uint32_t total = (uint32_t)(count * s->oh * s->ow * s->co);
    return s->rounds ? fxp_form_overran(&fxp_form_starts[fxp_tensors[i + 1].form], model->seen[i].saturated, total) : 0;
}

void fxp_adapt(fxp_model *model, int32_t count, int32_t due)
{
    int32_t i, some = due;
    for (i = fxp_first_run(model); i < FXP_STAGES; i++) {
        some = (overran(model, i, count) != 0) ? 1 : some;
    }
    if (some == 0) {
        return;
    }
    for (i = fxp_first_run(model); i < FXP_STAGES; i++) {
        const fxp_stage *s = &fxp_stages[i];
        const int32_t row = fxp_tensors[i + 1].form;
        if ((due != 0) && (fxp_trains_weights(s) || fxp_trains_bias(s))) {
            const int32_t change = fxp_form_adapt(&model->forms[s->w_form], &fxp_form_starts[s->w_form], 0);
            const int32_t momentum_change = fxp_form_adapt(&model->forms[s->w_form + 1], &fxp_form_starts[s->w_form + 1], 0);
            regrid(model, s, change, momentum_change);
        }
        if (s->rounds) {
            fxp_form *y = &model->forms[row];
            const int32_t finest = fxp_kind_fracs(model, s).finest; /* never finer than the sums */
            if (overran(model, i, count) != 0) {
                (void)fxp_form_widen(y, &fxp_form_starts[row]);
            } else if (due != 0) {
                (void)fxp_form_adapt(y, &fxp_form_starts[row], FXP_SATURATION);
            } else {
                /* it waits */
            }
            if ((finest != FXP_NO_FINEST) && fxp_form_starts[row].adaptive) {
                (void)fxp_form_move(y, &fxp_form_starts[row], (y->frac > finest) ? (finest - y->frac) : 0);
            }
        }
    }
}

#endif
