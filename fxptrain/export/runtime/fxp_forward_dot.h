/* The products of the forward pass, for the instructions that the core has: plain C, the DSP instructions of Arm's M-profile
 * (two 16-bit products each), or RISC-V's vectors (fxp_rvv.h); fxp_vectors.h has those for Arm's. The sums are exact, so the
 * bits are the same. Inlined where they are used, fxp_conv.c.
 *
 * Bounds: the generator proves from the formats that a sum fits fxp_forward_sum.
 */
#ifndef FXP_FORWARD_DOT_H
#define FXP_FORWARD_DOT_H

#include "fxp_dot.h"

#if FXP_DSP
#include <arm_acle.h>
#endif

/* x0 w0, x0 w1, x1 w0, x1 w1; or x w0 to x w3. */
typedef struct {
    fxp_forward_sum of[4];
} fxp_sums;

#if FXP_DSP && FXP_BYTES

#define FXP_LANES 4
typedef struct {
    int16x2_t even;
    int16x2_t odd;
} fxp_part;

/* The next four bytes, which may be unaligned. Compilers find neither the load that moves its pointer on, where pointers are
 * many, nor the free rotation. */
static inline fxp_part fxp_take(const int8_t **at)
{
    fxp_part part;
    int32_t bytes;
    __asm__("ldr %0, [%1], #4" : "=r"(bytes), "+r"(*at) : "m"(*(const int8_t(*)[4])*at));
    part.even = __sxtb16(bytes);
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(part.odd) : "r"(bytes));
    return part;
}

static inline int32_t fxp_add_part(int32_t sum, fxp_part x, fxp_part w)
{
    return __smlad(x.odd, w.odd, __smlad(x.even, w.even, sum));
}

#elif FXP_DSP && FXP_HALVES

#define FXP_LANES 2
typedef int16x2_t fxp_part;

static inline fxp_part fxp_take(const int16_t **at)
{
    fxp_part part;
    __asm__("ldr %0, [%1], #4" : "=r"(part), "+r"(*at) : "m"(*(const int16_t(*)[2])*at));
    return part;
}

static inline fxp_forward_sum fxp_add_part(fxp_forward_sum sum, fxp_part x, fxp_part w)
{
#if FXP_FORWARD_SUM_BITS == 32
    return __smlad(x, w, sum);
#else
    return __smlald(x, w, sum);
#endif
}

#else

#define FXP_LANES 1

#endif

#if FXP_RVV_FORWARD /* fxp_rvv.h has them */
#elif defined(FXP_SHORT)

static inline fxp_sums fxp_dot_2x2(const fxp_value *x0, const fxp_value *x1, FXP_ROM fxp_param *w0, FXP_ROM fxp_param *w1,
                                   int32_t count, int32_t start0, int32_t start1)
{
    fxp_sums sums;
    sums.of[0] = start0;
    sums.of[1] = start1;
    sums.of[2] = start0;
    sums.of[3] = start1;
    fxp_dot_1x2(x0, w0, w1, count, &sums.of[0]);
    fxp_dot_1x2(x1, w0, w1, count, &sums.of[2]);
    return sums;
}

static inline fxp_sums fxp_dot_1x4(const fxp_value *x, FXP_ROM fxp_param *w0, int32_t count, fxp_sums start)
{
    fxp_sums sums = start;
    fxp_dot_1x2(x, w0, w0 + count, count, &sums.of[0]);
    fxp_dot_1x2(x, w0 + 2 * count, w0 + 3 * count, count, &sums.of[2]);
    return sums;
}

#else

/* Two inputs and two channels, each read once for two products; sums begin with what the channel's shall begin with. */
static inline fxp_sums fxp_dot_2x2(const fxp_value *x0, const fxp_value *x1, FXP_ROM fxp_param *w0, FXP_ROM fxp_param *w1,
                             int32_t count, int32_t start0, int32_t start1)
{
    fxp_forward_sum s00 = start0, s01 = start1, s10 = start0, s11 = start1;
    int32_t left = count;
    fxp_sums sums;
#if FXP_LANES > 1
    const fxp_value *end = x0 + (count - count % FXP_LANES);
    while (x0 < end) {
        const fxp_part a0 = fxp_take(&x0), b0 = fxp_take(&w0), b1 = fxp_take(&w1);
        const fxp_part a1 = fxp_take(&x1);
        s00 = fxp_add_part(s00, a0, b0);
        s01 = fxp_add_part(s01, a0, b1);
        s10 = fxp_add_part(s10, a1, b0);
        s11 = fxp_add_part(s11, a1, b1);
    }
    left = count % FXP_LANES;
#else
#define FXP_STEP(at)                                                           \
    {                                                                          \
        const fxp_forward_sum a0 = x0[at], a1 = x1[at], b0 = w0[at], b1 = w1[at]; \
        s00 += a0 * b0;                                                        \
        s01 += a0 * b1;                                                        \
        s10 += a1 * b0;                                                        \
        s11 += a1 * b1;                                                        \
    }
    for (; left >= 4; left -= 4) {
        FXP_STEP(0)
        FXP_STEP(1)
        FXP_STEP(2)
        FXP_STEP(3)
        x0 += 4;
        x1 += 4;
        w0 += 4;
        w1 += 4;
    }
#undef FXP_STEP
#endif
    for (; left > 0; left--) {
        const fxp_forward_sum a0 = *x0++, a1 = *x1++, b0 = *w0++, b1 = *w1++;
        s00 += a0 * b0;
        s01 += a0 * b1;
        s10 += a1 * b0;
        s11 += a1 * b1;
    }
    sums.of[0] = s00;
    sums.of[1] = s01;
    sums.of[2] = s10;
    sums.of[3] = s11;
    return sums;
}

/* One input and four channels, whose weights are `count` apart. */
static inline fxp_sums fxp_dot_1x4(const fxp_value *x, FXP_ROM fxp_param *w0, int32_t count, fxp_sums start)
{
    FXP_ROM fxp_param *w1 = w0 + count;
    FXP_ROM fxp_param *w2 = w1 + count;
    FXP_ROM fxp_param *w3 = w2 + count;
    fxp_forward_sum s0 = start.of[0], s1 = start.of[1], s2 = start.of[2], s3 = start.of[3];
    int32_t left = count;
    fxp_sums sums;
#if FXP_LANES > 1
    const fxp_value *end = x + (count - count % FXP_LANES);
    while (x < end) {
        const fxp_part a = fxp_take(&x);
        s0 = fxp_add_part(s0, a, fxp_take(&w0));
        s1 = fxp_add_part(s1, a, fxp_take(&w1));
        s2 = fxp_add_part(s2, a, fxp_take(&w2));
        s3 = fxp_add_part(s3, a, fxp_take(&w3));
    }
    left = count % FXP_LANES;
#else
#define FXP_STEP(at)                                                           \
    {                                                                          \
        const fxp_forward_sum a = x[at];                                       \
        s0 += a * w0[at];                                                      \
        s1 += a * w1[at];                                                      \
        s2 += a * w2[at];                                                      \
        s3 += a * w3[at];                                                      \
    }
    for (; left >= 4; left -= 4) {
        FXP_STEP(0)
        FXP_STEP(1)
        FXP_STEP(2)
        FXP_STEP(3)
        x += 4;
        w0 += 4;
        w1 += 4;
        w2 += 4;
        w3 += 4;
    }
#undef FXP_STEP
#endif
    for (; left > 0; left--) {
        const fxp_forward_sum a = *x++;
        s0 += a * *w0++;
        s1 += a * *w1++;
        s2 += a * *w2++;
        s3 += a * *w3++;
    }
    sums.of[0] = s0;
    sums.of[1] = s1;
    sums.of[2] = s2;
    sums.of[3] = s3;
    return sums;
}

#endif

#endif
