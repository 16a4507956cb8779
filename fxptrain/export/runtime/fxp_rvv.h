/* Products with RISC-V's vectors (V 1.0), whatever their length: the sums of the forward pass, and what the way back adds up.
 *
 * No lane behind the last value is read: tails are multiplied and summed with as many lanes as there are values. Sums are
 * exact in each lane as they are in all: the bounds of fxp_dot.h hold for every part of a sum.
 */
#ifndef FXP_RVV_H
#define FXP_RVV_H

#include "fxp_forward_dot.h"

#if FXP_RVV

#include <riscv_vector.h>

/* Compilers of before the intrinsics' version 0.11 (clang 14) have names without a beginning, and one more argument of a
 * reduction: what the lanes that it does not write come from. */
#ifdef __riscv_v_intrinsic
#define FXP_V(name) __riscv_##name
#define FXP_V_REDUCE(name, vector, start, lanes) __riscv_##name(vector, start, lanes)
#else
#define FXP_V(name) name
#define FXP_V_REDUCE(name, vector, start, lanes) name(start, vector, start, lanes)
#endif

#if FXP_RVV_FORWARD

/* Values of a part, the products of two parts, sums in lanes, a sum. */
#if FXP_BYTES
typedef vint8m1_t fxp_part;
typedef vint16m2_t fxp_products;
typedef vint32m4_t fxp_lanes;
typedef vint32m1_t fxp_total;
#define FXP_PART_LANES(count) FXP_V(vsetvl_e8m1)((size_t)(count))
#define FXP_LOAD_PART FXP_V(vle8_v_i8m1)
#define FXP_MULTIPLY FXP_V(vwmul_vv_i16m2)
#define FXP_ADD_LANES FXP_V(vwadd_wv_i32m4)
#define FXP_NO_LANES(lanes) FXP_V(vmv_v_x_i32m4)(0, lanes)
#define FXP_START_TOTAL(start) FXP_V(vmv_v_x_i32m1)(start, 1)
#define FXP_END_TOTAL FXP_V(vmv_x_s_i32m1_i32)
#define FXP_SUM_PRODUCTS(products, total, lanes) FXP_V_REDUCE(vwredsum_vs_i16m2_i32m1, products, total, lanes)
#define FXP_SUM_LANES(sums, total, lanes) FXP_V_REDUCE(vredsum_vs_i32m4_i32m1, sums, total, lanes)
#elif FXP_FORWARD_SUM_BITS == 32
typedef vint16m2_t fxp_part;
typedef vint32m4_t fxp_products;
typedef vint32m4_t fxp_lanes;
typedef vint32m1_t fxp_total;
#define FXP_PART_LANES(count) FXP_V(vsetvl_e16m2)((size_t)(count))
#define FXP_LOAD_PART FXP_V(vle16_v_i16m2)
#define FXP_MULTIPLY FXP_V(vwmul_vv_i32m4)
#define FXP_ADD_LANES FXP_V(vadd_vv_i32m4)
#define FXP_NO_LANES(lanes) FXP_V(vmv_v_x_i32m4)(0, lanes)
#define FXP_START_TOTAL(start) FXP_V(vmv_v_x_i32m1)(start, 1)
#define FXP_END_TOTAL FXP_V(vmv_x_s_i32m1_i32)
#define FXP_SUM_PRODUCTS(products, total, lanes) FXP_V_REDUCE(vredsum_vs_i32m4_i32m1, products, total, lanes)
#define FXP_SUM_LANES FXP_SUM_PRODUCTS
#else
typedef vint16m1_t fxp_part;
typedef vint32m2_t fxp_products;
typedef vint64m4_t fxp_lanes;
typedef vint64m1_t fxp_total;
#define FXP_PART_LANES(count) FXP_V(vsetvl_e16m1)((size_t)(count))
#define FXP_LOAD_PART FXP_V(vle16_v_i16m1)
#define FXP_MULTIPLY FXP_V(vwmul_vv_i32m2)
#define FXP_ADD_LANES FXP_V(vwadd_wv_i64m4)
#define FXP_NO_LANES(lanes) FXP_V(vmv_v_x_i64m4)(0, lanes)
#define FXP_START_TOTAL(start) FXP_V(vmv_v_x_i64m1)(start, 1)
#define FXP_END_TOTAL FXP_V(vmv_x_s_i64m1_i64)
#define FXP_SUM_PRODUCTS(products, total, lanes) FXP_V_REDUCE(vwredsum_vs_i32m2_i64m1, products, total, lanes)
#define FXP_SUM_LANES(sums, total, lanes) FXP_V_REDUCE(vredsum_vs_i64m4_i64m1, sums, total, lanes)
#endif

/* Start, the products of the last values that fill no part, and, where there are whole parts, their sums. */
static inline fxp_forward_sum fxp_total_of(fxp_forward_sum start, fxp_products last, size_t left, fxp_lanes whole, size_t lanes)
{
    fxp_total total = FXP_START_TOTAL(start);
    if (left > 0u) {
        total = FXP_SUM_PRODUCTS(last, total, left);
    }
    if (lanes > 0u) {
        total = FXP_SUM_LANES(whole, total, lanes);
    }
    return FXP_END_TOTAL(total);
}

/* Two inputs and two channels, each read once for two products; sums begin with what the channel's shall begin with. */
static inline fxp_sums fxp_dot_2x2(const fxp_value *x0, const fxp_value *x1, const fxp_param *w0, const fxp_param *w1,
                                   int32_t count, int32_t start0, int32_t start1)
{
    const size_t most = FXP_PART_LANES(INT32_MAX), left = (size_t)count % most;
    const size_t whole = (size_t)count - left, lanes = (whole > 0u) ? most : 0u;
    fxp_lanes s00 = FXP_NO_LANES(most), s01 = s00, s10 = s00, s11 = s00;
    size_t k;
    fxp_sums sums;
    for (k = 0; k < whole; k += most) {
        const fxp_part a0 = FXP_LOAD_PART(x0 + k, most), a1 = FXP_LOAD_PART(x1 + k, most);
        const fxp_part b0 = FXP_LOAD_PART(w0 + k, most), b1 = FXP_LOAD_PART(w1 + k, most);
        s00 = FXP_ADD_LANES(s00, FXP_MULTIPLY(a0, b0, most), most);
        s01 = FXP_ADD_LANES(s01, FXP_MULTIPLY(a0, b1, most), most);
        s10 = FXP_ADD_LANES(s10, FXP_MULTIPLY(a1, b0, most), most);
        s11 = FXP_ADD_LANES(s11, FXP_MULTIPLY(a1, b1, most), most);
    }
    {
        const fxp_part a0 = FXP_LOAD_PART(x0 + k, left), a1 = FXP_LOAD_PART(x1 + k, left);
        const fxp_part b0 = FXP_LOAD_PART(w0 + k, left), b1 = FXP_LOAD_PART(w1 + k, left);
        sums.of[0] = fxp_total_of(start0, FXP_MULTIPLY(a0, b0, left), left, s00, lanes);
        sums.of[1] = fxp_total_of(start1, FXP_MULTIPLY(a0, b1, left), left, s01, lanes);
        sums.of[2] = fxp_total_of(start0, FXP_MULTIPLY(a1, b0, left), left, s10, lanes);
        sums.of[3] = fxp_total_of(start1, FXP_MULTIPLY(a1, b1, left), left, s11, lanes);
    }
    return sums;
}

/* One input and four channels, whose weights are `count` apart. */
static inline fxp_sums fxp_dot_1x4(const fxp_value *x, const fxp_param *w0, int32_t count, fxp_sums start)
{
    const fxp_param *w1 = w0 + count;
    const fxp_param *w2 = w1 + count;
    const fxp_param *w3 = w2 + count;
    const size_t most = FXP_PART_LANES(INT32_MAX), left = (size_t)count % most;
    const size_t whole = (size_t)count - left, lanes = (whole > 0u) ? most : 0u;
    fxp_lanes s0 = FXP_NO_LANES(most), s1 = s0, s2 = s0, s3 = s0;
    size_t k;
    fxp_sums sums;
    for (k = 0; k < whole; k += most) {
        const fxp_part a = FXP_LOAD_PART(x + k, most);
        s0 = FXP_ADD_LANES(s0, FXP_MULTIPLY(a, FXP_LOAD_PART(w0 + k, most), most), most);
        s1 = FXP_ADD_LANES(s1, FXP_MULTIPLY(a, FXP_LOAD_PART(w1 + k, most), most), most);
        s2 = FXP_ADD_LANES(s2, FXP_MULTIPLY(a, FXP_LOAD_PART(w2 + k, most), most), most);
        s3 = FXP_ADD_LANES(s3, FXP_MULTIPLY(a, FXP_LOAD_PART(w3 + k, most), most), most);
    }
    {
        const fxp_part a = FXP_LOAD_PART(x + k, left);
        sums.of[0] = fxp_total_of(start.of[0], FXP_MULTIPLY(a, FXP_LOAD_PART(w0 + k, left), left), left, s0, lanes);
        sums.of[1] = fxp_total_of(start.of[1], FXP_MULTIPLY(a, FXP_LOAD_PART(w1 + k, left), left), left, s1, lanes);
        sums.of[2] = fxp_total_of(start.of[2], FXP_MULTIPLY(a, FXP_LOAD_PART(w2 + k, left), left), left, s2, lanes);
        sums.of[3] = fxp_total_of(start.of[3], FXP_MULTIPLY(a, FXP_LOAD_PART(w3 + k, left), left), left, s3, lanes);
    }
    return sums;
}

#endif

#if FXP_RVV_BACK

/* What errors are multiplied by, as 16-bit numbers. */
#define FXP_RVV_LANES(count) FXP_V(vsetvl_e16m2)((size_t)(count))
#define FXP_LOAD_BYTES(at, lanes) FXP_V(vsext_vf2_i16m2)(FXP_V(vle8_v_i8m1)(at, lanes), lanes)
#define FXP_LOAD_HALVES FXP_V(vle16_v_i16m2)

/* Sums of 32 and of 64 bits: read, more of them, written. */
typedef vint32m4_t fxp_lanes_32;
typedef vint64m8_t fxp_lanes_64;

static inline fxp_lanes_32 fxp_load_lanes_32(const int32_t *sums, size_t lanes)
{
    return FXP_V(vle32_v_i32m4)(sums, lanes);
}

static inline fxp_lanes_32 fxp_add_lanes_32(fxp_lanes_32 sums, vint16m2_t factors, fxp_error error, size_t lanes)
{
    return FXP_V(vwmacc_vx_i32m4)(sums, error, factors, lanes);
}

static inline void fxp_store_lanes_32(int32_t *sums, fxp_lanes_32 of, size_t lanes)
{
    FXP_V(vse32_v_i32m4)(sums, of, lanes);
}

static inline fxp_lanes_64 fxp_load_lanes_64(const int64_t *sums, size_t lanes)
{
    return FXP_V(vle64_v_i64m8)(sums, lanes);
}

static inline fxp_lanes_64 fxp_add_lanes_64(fxp_lanes_64 sums, vint16m2_t factors, fxp_error error, size_t lanes)
{
    return FXP_V(vwadd_wv_i64m8)(sums, FXP_V(vwmul_vx_i32m4)(factors, error, lanes), lanes);
}

static inline void fxp_store_lanes_64(int64_t *sums, fxp_lanes_64 of, size_t lanes)
{
    FXP_V(vse64_v_i64m8)(sums, of, lanes);
}

#endif

#endif

#endif
