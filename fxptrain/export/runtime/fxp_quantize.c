/* Inputs to raw integers: pixels by a table, real numbers in integers. Twin of export/interface.py. */
#include "fxp.h"
#include "fxp_model.h"
#include "fxp_vectors.h"

#if FXP_PIXELS

void fxp_look_up(const fxp_input *pixels, fxp_value *inputs)
{
#if FXP_HELIUM && (FXP_INPUT_SCALES == 1)
    fxp_take_bytes(inputs, fxp_input_table, pixels, FXP_INPUTS);
#else
    size_t i;
    for (i = 0; i < FXP_INPUTS; i++) {
        inputs[i] = fxp_input_table[256u * (i % FXP_INPUT_SCALES) + pixels[i]];
    }
#endif
}

#else

#define FXP_CENTRED_LIMIT ((int64_t)1 << 32) /* beyond it the result saturates in any case */
#define FXP_REAL_LIMIT ((int64_t)1 << 61)

fxp_status fxp_quantize_input(const int32_t *values, int32_t frac, fxp_value *inputs)
{
    int32_t i;
    if ((values == NULL) || (inputs == NULL) || (frac < 0) || (frac > 31)) {
        return FXP_BAD_ARGUMENT;
    }
    for (i = 0; i < FXP_INPUTS; i++) {
        const fxp_input_scale *scale = &fxp_input_scales[i % FXP_INPUT_SCALES];
        const int64_t x = fxp_saturate(fxp_round_half_even(values[i], frac - scale->grid), -FXP_REAL_LIMIT, FXP_REAL_LIMIT);
        const int64_t centred = fxp_saturate(x + scale->offset, -FXP_CENTRED_LIMIT, FXP_CENTRED_LIMIT);
        const int64_t rounded = fxp_round_half_even(centred * scale->mantissa, scale->shift);
        inputs[i] = (fxp_value)fxp_saturate(rounded, FXP_MIN_RAW(FXP_VALUE_BITS), FXP_MAX_RAW(FXP_VALUE_BITS));
    }
    return FXP_OK;
}

#endif
