/* Outputs whose sums int64 is not proved to hold: they are of two limbs, high * 2^16 + low. Twin of kernels/limbs.py and
 * kernels/wide.py, in plain C: a product of 32-bit numbers is two products of 32 by 17 bits.
 *
 * Bounds: the generator proves from the formats that |sum| + 2^shift < 2^78.
 */
#ifndef FXP_LIMBS_H
#define FXP_LIMBS_H

#include "fxp_stage.h"

#if FXP_LIMBS

/* Of convolutions of any kind and linear layers, pooled, activated and rounded. */
void fxp_limbs_forward(const fxp_forward *pass);

#endif

#endif
