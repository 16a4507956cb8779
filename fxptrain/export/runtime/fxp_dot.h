/* The loops that multiply and are not inlined: on the way back, and in plain C; fxp_forward_dot.h has the others.
 *
 * Bounds: the generator proves from the formats that a sum fits its type (fxp_forward_sum and so on in fxp_config.h) and
 * chooses int32 where it does, int64 else.
 */
#ifndef FXP_DOT_H
#define FXP_DOT_H

#include "fxp_types.h"

#define FXP_BYTES ((FXP_VALUE_BITS <= 8) && (FXP_PARAM_BITS <= 8) && (FXP_FORWARD_SUM_BITS == 32))
#define FXP_HALVES ((FXP_VALUE_BITS > 8) && (FXP_VALUE_BITS <= 16) && (FXP_PARAM_BITS > 8) && (FXP_PARAM_BITS <= 16))

#define FXP_HELIUM (FXP_MVE && FXP_BYTES) /* fxp_vectors.h */

/* Where RISC-V's vectors multiply: forward, in fxp_rvv.h; on the way back, in fxp_dot_rvv.c. */
#define FXP_RVV_FORWARD (FXP_RVV && (FXP_BYTES || FXP_HALVES))
#define FXP_RVV_BACK (FXP_RVV && FXP_TRAINING && (FXP_VALUE_BITS <= 16) && (FXP_PARAM_BITS <= 16) && (FXP_ERROR_BITS <= 16))

#if FXP_HELIUM || (FXP_DSP && (FXP_BYTES || FXP_HALVES)) || FXP_RVV_FORWARD
#define FXP_PLAIN 0
#else
#define FXP_PLAIN 1
#endif

/* Plain C: Thumb-1 has eight registers for operands, its loops are short; Thumb-2 has as many as three channels at a time
 * need, and the loop's own instructions cost as much as a product. */
#if FXP_PLAIN && defined(__thumb__) && !defined(__thumb2__)
#define FXP_SHORT 1
#elif FXP_PLAIN && defined(__thumb2__)
#define FXP_THREE 1
#endif

#ifdef FXP_SHORT
/* One input and two channels; sums[0] and sums[1] hold what they begin with. Not inlined, for its registers' sake. */
void fxp_dot_1x2(const fxp_value *x, FXP_ROM fxp_param *w0, FXP_ROM fxp_param *w1, int32_t count, fxp_forward_sum *sums);
#endif

#ifdef FXP_THREE
/* Two inputs and three channels, whose weights are `count` apart; sums: x0 w0, x0 w1, x0 w2, x1 w0, x1 w1, x1 w2. */
void fxp_dot_2x3(const fxp_value *x0, const fxp_value *x1, FXP_ROM fxp_param *w0, int32_t count, const int32_t start[3],
                 fxp_forward_sum sums[6]);
#endif

#if FXP_TRAINING

/* Whether these loops are those with vectors (fxp_vector_back.c), where 32 bits hold the sums. */
#define FXP_BACK_LANES (FXP_MVE && (FXP_ERROR_SUM_BITS == 32))
#define FXP_GRADIENT_LANES (FXP_MVE && (FXP_GRADIENT_SUM_BITS == 32))

/* Whether errors are multiplied as inputs are. */
#define FXP_ERROR_DOTS (FXP_HELIUM && (FXP_ERROR_BITS <= 8) && (FXP_ERROR_SUM_BITS == 32))

/* sums[i] += error * w[i]: an error goes back through the weights of its channel. */
void fxp_add_weights(fxp_error_sum *sums, FXP_ROM fxp_param *w, fxp_error error, int32_t count);

/* sums[i] += error * x[i]: an error meets the inputs its channel saw. */
void fxp_add_inputs(fxp_gradient_sum *sums, const fxp_value *x, fxp_error error, int32_t count);

/* Up to four errors and what each is multiplied by, whose products go to the same sums: these are read and written once. */
#define FXP_TOGETHER 4

typedef struct {
    fxp_error of[FXP_TOGETHER];
    FXP_ROM fxp_param *w[FXP_TOGETHER];
    int32_t count;
} fxp_channels;

typedef struct {
    fxp_error of[FXP_TOGETHER];
    const fxp_value *x[FXP_TOGETHER];
    int32_t count;
} fxp_positions;

/* sums[i] += the sum of error * w[at + i] over some channels. */
void fxp_add_channels(fxp_error_sum *sums, const fxp_channels *from, int32_t at, int32_t count);

/* sums[i] += the sum of error * x[at + i] over some positions. */
void fxp_add_positions(fxp_gradient_sum *sums, const fxp_positions *from, int32_t at, int32_t count);

#endif

#endif
