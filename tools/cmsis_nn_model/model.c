#include "arm_nnfunctions.h"

#include <stddef.h>
#include <stdlib.h>

/* floor(value * 2^-shift) */
static int64_t halved(int64_t value, int32_t shift)
{
    return (value < 0) ? ~(~value >> shift) : (value >> shift);
}

static int32_t in_32_bits(int64_t value)
{
    if ((value < INT32_MIN) || (value > INT32_MAX)) {
        abort(); /* CMSIS-NN would wrap around */
    }
    return (int32_t)value;
}

static int64_t limited(int64_t value, const cmsis_nn_activation *limits)
{
    const int64_t kept = (value < limits->min) ? limits->min : value;
    return (kept > limits->max) ? limits->max : kept;
}

/* sum * multiplier * 2^(shift - 31): one rounding, or (the library's default) half up at bit 31 and then half away from
 * zero. */
static int64_t rescale_8(int64_t sum, int32_t multiplier, int32_t shift)
{
#ifdef CMSIS_NN_USE_SINGLE_ROUNDING
    return in_32_bits(halved(halved(in_32_bits(sum) * (int64_t)multiplier, 30 - shift) + 1, 1));
#else
    const int32_t right = (shift < 0) ? -shift : 0;
    const int64_t lifted = in_32_bits(in_32_bits(sum) * ((int64_t)1 << ((shift > 0) ? shift : 0)));
    const int64_t high = in_32_bits(halved(lifted * multiplier + ((int64_t)1 << 30), 31));
    const int64_t down = halved((high < 0) ? -high : high, right);
    const int64_t size = (high < 0) ? -high : high;
    const int64_t rest = size - down * ((int64_t)1 << right);
    const int64_t away = down + (((right > 0) && (2 * rest >= ((int64_t)1 << right))) ? 1 : 0);
    return (high < 0) ? -away : away;
#endif
}

/* The s16 kernels keep 15 bits of the multiplier and round once. */
static int64_t rescale_16(int64_t sum, int32_t multiplier, int32_t shift)
{
    const int32_t reduced = (multiplier < 0x7FFF0000) ? ((multiplier + (1 << 15)) >> 16) : 0x7FFF;
    return halved((int64_t)in_32_bits(halved(sum * reduced, 14 - shift)) + 1, 1);
}

#define BITS 8
#define VALUE int8_t
#define BIAS int32_t
#define WIDE_BIAS int32_t
#define BIAS_OF(bias) (bias)
#include "model_family.h"
#undef BITS
#undef VALUE
#undef BIAS
#undef WIDE_BIAS
#undef BIAS_OF

#define BITS 16
#define VALUE int16_t
#define BIAS int64_t
#define WIDE_BIAS cmsis_nn_bias_data
#define BIAS_OF(bias) ((const int64_t *)(bias)->data)
#include "model_family.h"
