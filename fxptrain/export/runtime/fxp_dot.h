/* The loops that multiply on the way back; those of the forward pass are in fxp_forward_dot.h.
 *
 * Bounds: the generator proves from the formats that a sum fits its type (fxp_forward_sum and so on in fxp_config.h) and
 * chooses int32 where it does, int64 else.
 */
#ifndef FXP_DOT_H
#define FXP_DOT_H

#include "fxp_types.h"

#if FXP_TRAINING

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
