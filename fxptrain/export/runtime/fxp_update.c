#include "fxp_update.h"

#if FXP_TRAINING

#define FXP_GUARD 28
#define FXP_GRADIENT_BITS 47 /* of a gradient before its 15-bit mantissa */

fxp_term fxp_term_of(fxp_multiplier multiplier, int32_t frac, int32_t target_frac, int32_t bits)
{
    fxp_term term;
    int32_t left;
    term.drop = (bits > FXP_GRADIENT_BITS) ? (bits - FXP_GRADIENT_BITS) : 0;
    term.mantissa = multiplier.mantissa;
    left = target_frac + FXP_GUARD - frac - multiplier.shift + term.drop;
    term.left = (left < 0) ? 0 : ((left > 61) ? 61 : left);
    term.right = (left > 0) ? 0 : ((left < -63) ? 63 : -left);
    term.limit = (left > 0) ? (((int64_t)1 << 61) >> term.left) : INT64_MAX;
    term.factor = 0;
    if ((term.right == 0) && (term.drop == 0) && (bits + 15 + term.left <= 61)) { /* cannot reach the limit */
        term.factor = (int64_t)term.mantissa * ((int64_t)1 << term.left);
    }
    return term;
}

static int64_t apply(const fxp_term *term, int64_t value)
{
    int64_t product;
    if (term->factor != 0) {
        return value * term->factor;
    }
    if (term->mantissa == 0) {
        return 0;
    }
    product = fxp_shift_right(value, term->drop) * term->mantissa;
    if (term->left > 0) {
        return fxp_saturate(product, -term->limit, term->limit) * ((int64_t)1 << term->left);
    }
    return fxp_shift_right(product, term->right);
}

/* Drop the guard bits: `fxp_requantize` with its shift known. */
static int32_t settle(fxp_site *site, int64_t sum, uint32_t index)
{
#if FXP_UPDATE_STOCHASTIC
    const uint32_t draw = fxp_draw(&site->draws, index) >> (32 - FXP_GUARD);
    return fxp_store(site, fxp_shift_right(sum + (int64_t)draw, FXP_GUARD));
#else
    (void)index;
    return fxp_store(site, fxp_round_half_even(sum, FXP_GUARD));
#endif
}

void fxp_update(fxp_update_site *site, fxp_param *weight, fxp_momentum *momentum, int64_t gradient, uint32_t index)
{
    int64_t sum = apply(&site->keep, *momentum);
    sum += apply(&site->gradient, gradient);
    sum += apply(&site->decay, *weight);
    *momentum = (fxp_momentum)settle(&site->momentum_site, sum, index);
    sum = (int64_t)*weight * ((int64_t)1 << FXP_GUARD);
    sum -= apply(&site->rate, *momentum);
    *weight = (fxp_param)settle(&site->site, sum, index);
}

#endif
