#include "fxp_multiplier.h"

#define FXP_MIN_SHIFT (-48)
#define FXP_MAX_SHIFT 128

fxp_multiplier fxp_multiplier_ratio(uint64_t numerator, uint64_t denominator)
{
    fxp_multiplier value = {0, 0};
    uint64_t whole, rest;
    if ((numerator == 0) || (denominator == 0)) {
        return value;
    }
    while (numerator < denominator * 16384u) { /* at most 54 + 14 doublings; below 2^55 all along */
        numerator *= 2;
        value.shift++;
    }
    while (numerator >= denominator * 32768u) {
        denominator *= 2;
        value.shift--;
    }
    whole = numerator / denominator;
    rest = 2 * (numerator % denominator);
    if ((rest > denominator) || ((rest == denominator) && ((whole & 1u) != 0))) {
        whole++;
    }
    if (whole == 32768u) {
        whole = 16384u;
        value.shift--;
    }
    value.mantissa = (int32_t)whole;
    return value;
}

fxp_multiplier fxp_multiplier_over(fxp_multiplier value, fxp_multiplier divisor)
{
    fxp_multiplier found = fxp_multiplier_ratio((uint64_t)(uint32_t)value.mantissa, (uint64_t)(uint32_t)divisor.mantissa);
    found.shift += value.shift - divisor.shift;
    if (found.mantissa == 0) {
        found.shift = 0;
    } else if (found.shift < FXP_MIN_SHIFT) {
        found.mantissa = 32767;
        found.shift = FXP_MIN_SHIFT;
    } else if (found.shift > FXP_MAX_SHIFT) {
        found.mantissa = 0;
        found.shift = 0;
    }
    return found;
}

fxp_multiplier fxp_multiplier_halved(fxp_multiplier value)
{
    if ((value.mantissa == 0) || (value.shift >= FXP_MAX_SHIFT)) {
        value.mantissa = 0;
        value.shift = 0;
    } else {
        value.shift++;
    }
    return value;
}
