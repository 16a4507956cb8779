/* Constants mantissa * 2^-shift with a 15-bit mantissa: learning rate, momentum, decay. Twin of fixed/multiplier.py. */
#ifndef FXP_MULTIPLIER_H
#define FXP_MULTIPLIER_H

#include "fxp_types.h"

/* Nearest multiplier of numerator / denominator, ties to the even mantissa; both at most 2^40, the latter not 0. */
fxp_multiplier fxp_multiplier_ratio(uint64_t numerator, uint64_t denominator);

/* Quotient, rounded as a ratio is; the largest multiplier where it is too large. The divisor is not zero. */
fxp_multiplier fxp_multiplier_over(fxp_multiplier value, fxp_multiplier divisor);

/* Half of it; of the smallest one, zero. */
fxp_multiplier fxp_multiplier_halved(fxp_multiplier value);

#endif
