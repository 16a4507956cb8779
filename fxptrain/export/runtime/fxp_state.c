/* The training state as bytes, little-endian on every machine:
 *
 *     "FXP1", the model's fingerprint, steps, calibrated              4 words of 32 bits
 *     of every format: frac, saturated, total, largest                4 + 8 + 8 + 4 bytes
 *     of every error scale: frac, calm                                4 + 4 bytes
 *     of every trained layer: weights, their momentum, bias, its momentum, in the layout of fxp_stage
 *     CRC-32 of all that                                              4 bytes
 */
#include "fxp.h"
#include "fxp_model.h"

#if FXP_TRAINING

#define FXP_MAGIC 0x31505846u
#define FXP_CRC 0xEDB88320u

static uint8_t *put(uint8_t *to, uint64_t value, int32_t bytes)
{
    int32_t i;
    for (i = 0; i < bytes; i++) {
        *to++ = (uint8_t)(value & 255u);
        value >>= 8;
    }
    return to;
}

static uint64_t get(const uint8_t **from, int32_t bytes)
{
    uint64_t value = 0;
    int32_t i;
    for (i = 0; i < bytes; i++) {
        value |= (uint64_t)(*from)[i] << (8 * i);
    }
    *from += bytes;
    return value;
}

/* A signed number of `bytes` bytes, without leaving the sign to a conversion. */
static int32_t get_signed(const uint8_t **from, int32_t bytes)
{
    const int64_t value = (int64_t)get(from, bytes);
    const int64_t half = (int64_t)1 << (8 * bytes - 1);
    return (int32_t)((value < half) ? value : (value - 2 * half));
}

static uint32_t crc32(const uint8_t *bytes, uint32_t count)
{
    uint32_t crc = UINT32_MAX, i, bit;
    for (i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (((crc & 1u) != 0) ? FXP_CRC : 0u);
        }
    }
    return ~crc;
}

static uint8_t *put_params(uint8_t *to, const fxp_param *values, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++) {
        to = put(to, (uint64_t)(int64_t)values[i], (int32_t)sizeof(fxp_param));
    }
    return to;
}

static uint8_t *put_momentum(uint8_t *to, const fxp_momentum *values, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++) {
        to = put(to, (uint64_t)(int64_t)values[i], (int32_t)sizeof(fxp_momentum));
    }
    return to;
}

static const uint8_t *get_params(const uint8_t *from, fxp_param *values, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++) {
        values[i] = (fxp_param)get_signed(&from, (int32_t)sizeof(fxp_param));
    }
    return from;
}

static const uint8_t *get_momentum(const uint8_t *from, fxp_momentum *values, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++) {
        values[i] = (fxp_momentum)get_signed(&from, (int32_t)sizeof(fxp_momentum));
    }
    return from;
}

static int32_t weight_count(const fxp_stage *s)
{
    return s->co * s->taps;
}

void fxp_state_save(const fxp_model *model, uint8_t *bytes)
{
    uint8_t *to = bytes;
    int32_t i;
    to = put(to, FXP_MAGIC, 4);
    to = put(to, FXP_FINGERPRINT, 4);
    to = put(to, model->step, 4);
    to = put(to, model->calibrated, 4);
    for (i = 0; i < FXP_FORMS; i++) {
        to = put(to, (uint64_t)(int64_t)model->forms[i].frac, 4);
        to = put(to, model->forms[i].saturated, 8);
        to = put(to, model->forms[i].total, 8);
        to = put(to, (uint64_t)(int64_t)model->forms[i].largest, 4);
    }
    for (i = 0; i < FXP_STAGES; i++) {
        to = put(to, (uint64_t)(int64_t)model->scales[i].frac, 4);
        to = put(to, (uint64_t)(int64_t)model->scales[i].calm, 4);
    }
    for (i = FXP_FIRST_TRAINED; i < FXP_STAGES; i++) {
        const fxp_stage *s = &fxp_stages[i];
        if (s->w_form >= 0) {
            to = put_params(to, fxp_place(model, s->weights_at), weight_count(s));
            to = put_momentum(to, fxp_place(model, s->weights_momentum_at), weight_count(s));
            to = put_params(to, fxp_place(model, s->bias_at), (s->bias == NULL) ? 0 : s->co);
            to = put_momentum(to, fxp_place(model, s->bias_momentum_at), (s->bias == NULL) ? 0 : s->co);
        }
    }
    (void)put(to, crc32(bytes, FXP_STATE_BYTES - 4), 4);
}

static void load_parameters(fxp_model *model, const uint8_t *from)
{
    int32_t i;
    for (i = FXP_FIRST_TRAINED; i < FXP_STAGES; i++) {
        const fxp_stage *s = &fxp_stages[i];
        if (s->w_form >= 0) {
            from = get_params(from, fxp_place(model, s->weights_at), weight_count(s));
            from = get_momentum(from, fxp_place(model, s->weights_momentum_at), weight_count(s));
            from = get_params(from, fxp_place(model, s->bias_at), (s->bias == NULL) ? 0 : s->co);
            from = get_momentum(from, fxp_place(model, s->bias_momentum_at), (s->bias == NULL) ? 0 : s->co);
        }
    }
}

int32_t fxp_state_load(fxp_model *model, const uint8_t *bytes)
{
    const uint8_t *from = bytes, *end = bytes + (FXP_STATE_BYTES - 4);
    int32_t i;
    if ((get(&from, 4) != FXP_MAGIC) || (get(&from, 4) != FXP_FINGERPRINT)
        || (get(&end, 4) != crc32(bytes, FXP_STATE_BYTES - 4))) {
        return 0;
    }
    model->step = (uint32_t)get(&from, 4);
    model->calibrated = (uint32_t)get(&from, 4);
    for (i = 0; i < FXP_FORMS; i++) {
        model->forms[i].frac = get_signed(&from, 4);
        model->forms[i].saturated = get(&from, 8);
        model->forms[i].total = get(&from, 8);
        model->forms[i].largest = get_signed(&from, 4);
    }
    for (i = 0; i < FXP_STAGES; i++) {
        model->scales[i].frac = get_signed(&from, 4);
        model->scales[i].calm = get_signed(&from, 4);
    }
    load_parameters(model, from);
    return 1;
}

#endif
