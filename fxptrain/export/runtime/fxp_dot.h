/* The loops that multiply: everything else in the runtime is bookkeeping around these few.
 *
 * Bounds: the generator proves from the formats that a sum fits its type (fxp_forward_sum and so on in fxp_config.h) and
 * chooses int32 where it does, int64 else.
 */
#ifndef FXP_DOT_H
#define FXP_DOT_H

#include "fxp_types.h"

/* sums[j] = sum of x[i] * w_j[i], i < count: two output channels read each input once. */
void fxp_dot_pair(const fxp_value *x, FXP_ROM fxp_param *w0, FXP_ROM fxp_param *w1, int32_t count, fxp_forward_sum sums[2]);

/* The same for two inputs at once: sums[2 j + k] = sum of x_j[i] * w_k[i]. */
void fxp_dot_quad(const fxp_value *x0, const fxp_value *x1, FXP_ROM fxp_param *w0, FXP_ROM fxp_param *w1, int32_t count,
                  fxp_forward_sum sums[4]);

#if FXP_TRAINING
/* sums[i] += error * w[i]: an error goes back through the weights of its channel. */
void fxp_add_weights(fxp_error_sum *sums, FXP_ROM fxp_param *w, fxp_error error, int32_t count);

/* sums[i] += error * x[i]: an error meets the inputs its channel saw. */
void fxp_add_inputs(fxp_gradient_sum *sums, const fxp_value *x, fxp_error error, int32_t count);
#endif

#endif
