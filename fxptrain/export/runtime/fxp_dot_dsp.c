/* The forward products with the DSP instructions of Arm's M-profile: two (16-bit) products an instruction, the same bits
 * as fxp_dot.c. Compile with -DFXP_DSP=1 for a core that has them; other widths fall back to plain C here, too. */
#include "fxp_dot.h"

#if FXP_DSP

#include <arm_acle.h>

#define FXP_BYTES_DSP ((FXP_VALUE_BITS <= 8) && (FXP_PARAM_BITS <= 8))
#define FXP_HALVES_DSP ((FXP_VALUE_BITS > 8) && (FXP_VALUE_BITS <= 16) && (FXP_PARAM_BITS > 8) && (FXP_PARAM_BITS <= 16))

/* Four bytes or two halves of an array, which may be unaligned: one load. */
static inline int32_t word(const void *at)
{
    int32_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

#if FXP_BYTES_DSP

#define FXP_LANES 4

/* Bytes 0 and 2 of a word, and bytes 1 and 3, sign-extended to halves. */
static inline int16x2_t even(int32_t bytes)
{
    return __sxtb16(bytes);
}

static inline int16x2_t odd(int32_t bytes)
{
    const uint32_t all = (uint32_t)bytes;
    return __sxtb16((int32_t)((all >> 8) | (all << 24)));
}

#elif FXP_HALVES_DSP

#define FXP_LANES 2

#else

#define FXP_LANES 1

#endif

/* sum + the products of FXP_LANES neighbours. */
static inline fxp_forward_sum lanes(fxp_forward_sum sum, const fxp_value *x, FXP_ROM fxp_param *w)
{
#if FXP_BYTES_DSP
    const int32_t a = word(x), b = word(w);
    return __smlad(odd(a), odd(b), __smlad(even(a), even(b), (int32_t)sum));
#elif FXP_HALVES_DSP && (FXP_FORWARD_SUM_BITS == 32)
    return __smlad(word(x), word(w), sum);
#elif FXP_HALVES_DSP
    return __smlald(word(x), word(w), sum);
#else
    return sum + (fxp_forward_sum)x[0] * w[0];
#endif
}

void fxp_dot_quad(const fxp_value *x0, const fxp_value *x1, FXP_ROM fxp_param *w0, FXP_ROM fxp_param *w1, int32_t count,
                  fxp_forward_sum sums[4])
{
    fxp_forward_sum s00 = 0, s01 = 0, s10 = 0, s11 = 0;
    int32_t i = 0;
    for (; i + FXP_LANES <= count; i += FXP_LANES) { /* the compiler shares the four loads and extensions */
        s00 = lanes(s00, x0 + i, w0 + i);
        s01 = lanes(s01, x0 + i, w1 + i);
        s10 = lanes(s10, x1 + i, w0 + i);
        s11 = lanes(s11, x1 + i, w1 + i);
    }
    for (; i < count; i++) {
        s00 += (fxp_forward_sum)x0[i] * w0[i];
        s01 += (fxp_forward_sum)x0[i] * w1[i];
        s10 += (fxp_forward_sum)x1[i] * w0[i];
        s11 += (fxp_forward_sum)x1[i] * w1[i];
    }
    sums[0] = s00;
    sums[1] = s01;
    sums[2] = s10;
    sums[3] = s11;
}

void fxp_dot_pair(const fxp_value *x, FXP_ROM fxp_param *w0, FXP_ROM fxp_param *w1, int32_t count, fxp_forward_sum sums[2])
{
    fxp_forward_sum s0 = 0, s1 = 0;
    int32_t i = 0;
    for (; i + FXP_LANES <= count; i += FXP_LANES) {
        s0 = lanes(s0, x + i, w0 + i);
        s1 = lanes(s1, x + i, w1 + i);
    }
    for (; i < count; i++) {
        s0 += (fxp_forward_sum)x[i] * w0[i];
        s1 += (fxp_forward_sum)x[i] * w1[i];
    }
    sums[0] = s0;
    sums[1] = s1;
}

#endif
