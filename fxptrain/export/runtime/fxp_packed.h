/* Weights without gaps: FXP_PARAM_BITS bits each, the lowest first; every output channel begins at a whole byte. */
#ifndef FXP_PACKED_H
#define FXP_PACKED_H

#include "fxp_types.h"

#if FXP_PACKED

/* Weights of output channels first <= c < first + channels, of `taps` weights each, to `to` (channels, taps). */
void fxp_unpack_weights(FXP_ROM uint8_t *packed, int32_t first, int32_t channels, int32_t taps, fxp_param *to);

#if FXP_TRAINING
/* The same of their momentum. */
void fxp_unpack_momentum(FXP_ROM uint8_t *packed, int32_t channels, int32_t taps, fxp_momentum *to);
#endif

#endif

#endif
