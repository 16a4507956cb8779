/* The training state as bytes, little-endian on every machine:
 *
 *     "FXPS", version, FXP_STATE_BYTES, the model's fingerprint, number of the state (0, or of two slots),
 *     steps, calibrated                                               7 words of 32 bits
 *     of every format: frac, saturated, total, largest                4 + 8 + 8 + 4 bytes
 *     of every error scale: frac, calm                                4 + 4 bytes
 *     of every layer what is trained: weights, their momentum, bias, its momentum, in the layout of fxp_stage, of the
 *     channels that are trained
 *     CRC-32 of all that                                              4 bytes
 */
#include "fxp_state.h"

#include "fxp_formats.h"
#include "fxp_model.h"
#include "fxp_bytes.h"
#include "fxp_some.h"

#if FXP_TRAINING

#define FXP_MAGIC 0x53505846u
#define FXP_STATE_VERSION 2u

/* Number `first` of the parameters at an offset; NULL without a model. */
static fxp_param *params_at(const fxp_model *model, uint32_t at, int32_t first)
{
    return (model == NULL) ? NULL : ((fxp_param *)fxp_place(model, at) + first);
}

static fxp_momentum *momentum_at(const fxp_model *model, uint32_t at)
{
    return (model == NULL) ? NULL : (fxp_momentum *)fxp_place(model, at);
}

static void put_params(fxp_bytes *bytes, const fxp_param *values, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++) {
        fxp_put_signed(bytes, values[i], sizeof(fxp_param));
    }
}

static void put_momentum(fxp_bytes *bytes, const fxp_momentum *values, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++) {
        fxp_put_signed(bytes, values[i], sizeof(fxp_momentum));
    }
}

fxp_status fxp_state_out(const fxp_model *model, const fxp_storage *storage, uint32_t base, uint32_t number)
{
    fxp_bytes bytes;
    int32_t i, c;
    fxp_bytes_start(&bytes, storage, base);
    fxp_put(&bytes, FXP_MAGIC, 4);
    fxp_put(&bytes, FXP_STATE_VERSION, 4);
    fxp_put(&bytes, FXP_STATE_BYTES, 4);
    fxp_put(&bytes, FXP_FINGERPRINT, 4);
    fxp_put(&bytes, number, 4);
    fxp_put(&bytes, model->step, 4);
    fxp_put(&bytes, model->calibrated, 4);
    for (i = 0; i < FXP_FORMS; i++) {
        fxp_put_signed(&bytes, model->forms[i].frac, 4);
        fxp_put(&bytes, model->forms[i].saturated, 8);
        fxp_put(&bytes, model->forms[i].total, 8);
        fxp_put_signed(&bytes, model->forms[i].largest, 4);
    }
    for (i = 0; i < FXP_STAGES; i++) {
        fxp_put_signed(&bytes, model->scales[i].frac, 4);
        fxp_put_signed(&bytes, model->scales[i].calm, 4);
    }
    for (i = FXP_FIRST_ERROR; i < FXP_STAGES; i++) {
        const fxp_stage *s = &fxp_stages[i];
        if (fxp_trains_weights(s)) {
            for (c = 0; c < s->co; c++) {
                if (fxp_row_of(s, c) >= 0) {
                    put_params(&bytes, params_at(model, s->weights_at, fxp_arena_row(s, c) * s->taps), s->taps);
                }
            }
            put_momentum(&bytes, momentum_at(model, s->weights_momentum_at), fxp_learning(s) * s->taps);
        }
        if (fxp_trains_bias(s)) {
            for (c = 0; c < s->co; c++) {
                put_params(&bytes, params_at(model, s->bias_at, c), (fxp_row_of(s, c) < 0) ? 0 : 1);
            }
            put_momentum(&bytes, momentum_at(model, s->bias_momentum_at), fxp_learning(s));
        }
    }
    fxp_put(&bytes, ~bytes.crc, 4);
    fxp_flush(&bytes);
    return bytes.status;
}

/* Whether format `row` can have that frac: one that adapts within its limits, a momentum's where it was fitted, any other
 * only as it was exported. */
static int32_t can_have(int32_t row, int32_t frac)
{
    const fxp_form_start *form = &fxp_form_starts[row];
    int32_t i;
    for (i = FXP_FIRST_ERROR; i < FXP_STAGES; i++) {
        const fxp_stage *s = &fxp_stages[i];
        if ((fxp_trains_weights(s) || fxp_trains_bias(s)) && (s->w_form + 1 == row)) {
            return (frac >= -FXP_MAX_MOMENTUM_FRAC) && (frac <= FXP_MAX_MOMENTUM_FRAC);
        }
    }
    return (frac == form->frac) || (form->adaptive && (frac >= form->min_frac) && (frac <= form->max_frac));
}

/* Formats and error scales, into the model where there is one; 1: as they can be. */
static int32_t take_formats(fxp_bytes *bytes, fxp_model *model)
{
    int32_t i, good = 1;
    for (i = 0; i < FXP_FORMS; i++) {
        fxp_form form;
        form.frac = fxp_get_signed(bytes, 4);
        form.saturated = fxp_get(bytes, 8);
        form.total = fxp_get(bytes, 8);
        form.largest = fxp_get_signed(bytes, 4);
        good &= can_have(i, form.frac) && (form.saturated <= form.total) && (form.largest >= 0);
        good &= form.total < ((uint64_t)1 << 50); /* the share that saturated is formed with 12 more bits */
        if (model != NULL) {
            model->forms[i] = form;
        }
    }
    for (i = 0; i < FXP_STAGES; i++) {
        fxp_scale scale;
        scale.frac = fxp_get_signed(bytes, 4);
        scale.calm = fxp_get_signed(bytes, 4);
        good &= (scale.frac >= -FXP_MAX_ERROR_FRAC) && (scale.frac <= FXP_MAX_ERROR_FRAC);
        good &= (scale.calm >= 0) && (scale.calm < FXP_CALM_STEPS);
        if (model != NULL) {
            model->scales[i] = scale;
        }
    }
    return good;
}

static int32_t take_params(fxp_bytes *bytes, fxp_param *values, int32_t count)
{
    int32_t i, good = 1;
    for (i = 0; i < count; i++) {
        const int32_t value = fxp_get_signed(bytes, sizeof(fxp_param));
        good &= (value >= FXP_MIN_RAW(FXP_PARAM_BITS)) && (value <= FXP_MAX_RAW(FXP_PARAM_BITS));
        if (values != NULL) {
            values[i] = (fxp_param)value;
        }
    }
    return good;
}

static int32_t take_momentum(fxp_bytes *bytes, fxp_momentum *values, int32_t count)
{
    int32_t i, good = 1;
    for (i = 0; i < count; i++) {
        const int32_t value = fxp_get_signed(bytes, sizeof(fxp_momentum));
        good &= (value >= FXP_MIN_RAW(FXP_MOMENTUM_BITS)) && (value <= FXP_MAX_RAW(FXP_MOMENTUM_BITS));
        if (values != NULL) {
            values[i] = (fxp_momentum)value;
        }
    }
    return good;
}

/* Everything behind the first five words; without a model it is only looked at. */
static fxp_status take_body(fxp_bytes *bytes, fxp_model *model)
{
    const uint32_t step = (uint32_t)fxp_get(bytes, 4), calibrated = (uint32_t)fxp_get(bytes, 4);
    int32_t good = (calibrated <= 1u) && take_formats(bytes, model);
    int32_t i, c;
    uint32_t crc;
    for (i = FXP_FIRST_ERROR; i < FXP_STAGES; i++) {
        const fxp_stage *s = &fxp_stages[i];
        if (fxp_trains_weights(s)) {
            for (c = 0; c < s->co; c++) {
                if (fxp_row_of(s, c) >= 0) {
                    good &= take_params(bytes, params_at(model, s->weights_at, fxp_arena_row(s, c) * s->taps), s->taps);
                }
            }
            good &= take_momentum(bytes, momentum_at(model, s->weights_momentum_at), fxp_learning(s) * s->taps);
        }
        if (fxp_trains_bias(s)) {
            for (c = 0; c < s->co; c++) {
                good &= take_params(bytes, params_at(model, s->bias_at, c), (fxp_row_of(s, c) < 0) ? 0 : 1);
            }
            good &= take_momentum(bytes, momentum_at(model, s->bias_momentum_at), fxp_learning(s));
        }
    }
    crc = ~bytes->crc;
    good &= fxp_get(bytes, 4) == crc;
    if (model != NULL) {
        model->step = step;
        model->calibrated = calibrated;
        model->pending = 0;
    }
    if (bytes->status != FXP_OK) {
        return bytes->status;
    }
    return good ? FXP_OK : FXP_DAMAGED;
}

fxp_status fxp_state_check(const fxp_storage *storage, uint32_t base, uint32_t *number)
{
    fxp_bytes bytes;
    uint32_t word;
    int32_t same;
    fxp_bytes_start(&bytes, storage, base);
    word = (uint32_t)fxp_get(&bytes, 4);
    same = fxp_get(&bytes, 4) == FXP_STATE_VERSION;
    same &= fxp_get(&bytes, 4) == FXP_STATE_BYTES;
    same &= fxp_get(&bytes, 4) == FXP_FINGERPRINT;
    *number = (uint32_t)fxp_get(&bytes, 4);
    if (bytes.status != FXP_OK) {
        return bytes.status;
    }
    if (word != FXP_MAGIC) {
        return FXP_DAMAGED;
    }
    return same ? take_body(&bytes, NULL) : FXP_FOREIGN;
}

fxp_status fxp_state_in(fxp_model *model, const fxp_storage *storage, uint32_t base)
{
    fxp_bytes bytes;
    fxp_status status;
    int32_t i;
    fxp_bytes_start(&bytes, storage, base);
    for (i = 0; i < 5; i++) {
        (void)fxp_get(&bytes, 4);
    }
    status = take_body(&bytes, model);
    if (status != FXP_OK) { /* the bytes were good a moment ago: some of them are loaded */
        model->identity = ~FXP_IDENTITY;
    }
    return status;
}

fxp_status fxp_state_write(const fxp_model *model, const fxp_storage *storage)
{
    if (!fxp_ready(model)) {
        return FXP_NOT_READY;
    }
    if ((storage == NULL) || (storage->write == NULL)) {
        return FXP_BAD_ARGUMENT;
    }
    return fxp_state_out(model, storage, 0, 0);
}

fxp_status fxp_state_read(fxp_model *model, const fxp_storage *storage)
{
    fxp_status status;
    uint32_t number;
    if (!fxp_ready(model)) {
        return FXP_NOT_READY;
    }
    if ((storage == NULL) || (storage->read == NULL)) {
        return FXP_BAD_ARGUMENT;
    }
    status = fxp_state_check(storage, 0, &number);
    return (status == FXP_OK) ? fxp_state_in(model, storage, 0) : status;
}

#endif
