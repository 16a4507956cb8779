/* Real inputs to raw integers, in integers. Twin of data/scaling.py. */
#include "fxp.h"
#include "fxp_rounding.h"

#if !FXP_PIXELS

#define FXP_FARTHEST 40 /* farther to the right nothing is left of 32 bits */

fxp_status fxp_quantize_input(const int32_t *values, int32_t frac, fxp_value *inputs)
{
    int32_t i;
    if ((values == NULL) || (inputs == NULL) || (frac < 0) || (frac > 31)) {
        return FXP_BAD_ARGUMENT;
    }
    for (i = 0; i < FXP_INPUTS; i++) {
        const fxp_input_scale *scale = &fxp_input_scales[i % FXP_INPUT_SCALES];
        const int32_t right = frac - scale->prescale;
        const int64_t t = fxp_round_half_even(values[i], (right > FXP_FARTHEST) ? FXP_FARTHEST : right);
        const int64_t centred = fxp_saturate(t, INT32_MIN, INT32_MAX) - scale->offset;
        const int64_t rounded = fxp_round_half_even(centred * scale->mantissa, scale->shift);
        inputs[i] = (fxp_value)fxp_saturate(rounded, FXP_MIN_RAW(FXP_VALUE_BITS), FXP_MAX_RAW(FXP_VALUE_BITS));
    }
    return FXP_OK;
}

#endif
