/* The parameter update on the parameters' own grid: momentum and weight, each rounded once. Twin of kernels/update.py. */
#ifndef FXP_UPDATE_H
#define FXP_UPDATE_H

#include "fxp_rounding.h"
#include "fxp_types.h"

#if FXP_TRAINING

/* mantissa * (value >> drop), then to the left (saturating) or to the right (floor). */
typedef struct {
    int64_t factor; /* mantissa * 2^left where that is all there is to it, else 0 */
    int64_t limit;
    int32_t mantissa;
    int32_t left;
    int32_t right;
    int32_t drop;
    int32_t narrow; /* whether value and factor fit 32 bits, and what comes of three such terms does so, too */
} fxp_term;

/* One array's update at one step. */
typedef struct {
    fxp_term keep;     /* mu * momentum */
    fxp_term gradient; /* gradient / batch */
    fxp_term decay;    /* lambda * weight */
    fxp_term rate;     /* gamma * new momentum */
#if FXP_FEEDBACK
    fxp_term feedback; /* of what rounding added to the weight, to the momentum */
#endif
    int32_t narrow;    /* whether all of them are */
    fxp_site momentum_site;
    fxp_site site;
} fxp_update_site;

/* A term whose value has `frac` fractional bits and at most `bits` magnitude bits, for a target with `target_frac`: it is
 * brought to 28 guard bits below the target's last bit. */
fxp_term fxp_term_of(fxp_multiplier multiplier, int32_t frac, int32_t target_frac, int32_t bits);

/* An update of which the terms are set. */
void fxp_update_begin(fxp_update_site *site);

/* Bits below the last one of what is multiplied once more, with feedback: the unrounded sum, what a rounding added. */
#define FXP_KEPT 16

/* m <- R(mu m + G / B + lambda w), w <- R(w - gamma m), for the parameter whose draws have number `index`. With feedback
 * s = mu m + G / B + lambda w, w' <- R(w - gamma s), m <- R(s + c (w' - (w - gamma s))). */
void fxp_update(fxp_update_site *site, fxp_param *weight, fxp_momentum *momentum, int64_t gradient, uint32_t index);

/* The same for some neighbouring channels' weights (channels, taps) from their gradients; `index` is that of the first one's
 * draws, and those of the next tap are `apart` on. */
void fxp_update_weights(fxp_update_site *site, fxp_param *weights, fxp_momentum *momentum, const fxp_gradient_sum *gradients,
                        int32_t channels, int32_t taps, uint32_t index, uint32_t apart);

#endif

#endif
