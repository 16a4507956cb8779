#include "fxp_update.h"

#if FXP_TRAINING

#define FXP_GUARD 28
#define FXP_GRADIENT_BITS 47 /* of a gradient before its 15-bit mantissa */
#define FXP_NARROW 57 /* of each of three terms and a draw, whose sum without its guard fits 32 */

fxp_term fxp_term_of(fxp_multiplier multiplier, int32_t frac, int32_t target_frac, int32_t bits)
{
    fxp_term term;
    int32_t left;
    term.drop = (bits > FXP_GRADIENT_BITS) ? (bits - FXP_GRADIENT_BITS) : 0;
    term.mantissa = multiplier.mantissa;
    left = target_frac + FXP_GUARD - frac - multiplier.shift + term.drop;
    term.left = (left < 0) ? 0 : ((left > 61) ? 61 : left);
    term.right = (left > 0) ? 0 : ((left < -63) ? 63 : -left);
    while ((term.right > 0) && (term.drop == 0) && (term.mantissa > 0) && (term.mantissa % 2 == 0)) { /* no bit is lost */
        term.mantissa /= 2;
        term.right--;
    }
    term.limit = (left > 0) ? (((int64_t)1 << 61) >> term.left) : INT64_MAX;
    term.factor = 0;
    if ((term.right == 0) && (term.drop == 0) && (bits + 15 + term.left <= 61)) { /* cannot reach the limit */
        term.factor = (int64_t)term.mantissa * ((int64_t)1 << term.left);
    }
    term.narrow = (term.mantissa == 0)
                  || ((term.factor != 0) && (bits <= 31) && (term.left + 15 <= 31) && (bits + term.left + 15 <= FXP_NARROW));
    return term;
}

void fxp_update_begin(fxp_update_site *site)
{
    site->narrow = (FXP_PARAM_BITS < 32) && (FXP_MOMENTUM_BITS < 32) && site->keep.narrow && site->gradient.narrow
                   && site->decay.narrow && site->rate.narrow;
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

/* Drop the guard bits where what is left fits 32. */
static inline int32_t settle_narrow(fxp_site *site, int64_t sum, uint32_t index, int32_t bits)
{
#if FXP_UPDATE_STOCHASTIC
    const int64_t exact = sum + (int64_t)(fxp_draw(&site->draws, index) >> (32 - FXP_GUARD));
    const int32_t value = (int32_t)fxp_shift_right(exact, FXP_GUARD);
#else
    const int32_t value = (int32_t)fxp_round_half_even(sum, FXP_GUARD);
    (void)index;
#endif
    return fxp_store_32(site, value, FXP_MIN_RAW(bits), FXP_MAX_RAW(bits));
}

static inline void update_narrow(fxp_update_site *site, fxp_param *weight, fxp_momentum *momentum, int32_t gradient,
                                 uint32_t index)
{
    const int32_t value = *weight;
    int64_t sum = (int64_t)*momentum * (int32_t)site->keep.factor;
    int32_t moved;
    sum += (int64_t)gradient * (int32_t)site->gradient.factor;
    sum += (int64_t)value * (int32_t)site->decay.factor;
    moved = settle_narrow(&site->momentum_site, sum, index, FXP_MOMENTUM_BITS);
    *momentum = (fxp_momentum)moved;
    sum = (int64_t)value * ((int32_t)1 << FXP_GUARD);
    sum += (int64_t)moved * -(int32_t)site->rate.factor;
    *weight = (fxp_param)settle_narrow(&site->site, sum, index, FXP_PARAM_BITS);
}

void fxp_update_weights(fxp_update_site *site, fxp_param *weights, fxp_momentum *momentum, const fxp_gradient_sum *gradients,
                        int32_t channels, int32_t taps, uint32_t index, uint32_t apart)
{
    int32_t k, c;
    for (k = 0; k < taps; k++) {
        for (c = 0; c < channels; c++) {
            const int32_t at = c * taps + k;
            if (site->narrow) {
                update_narrow(site, &weights[at], &momentum[at], (int32_t)gradients[at], index + (uint32_t)c);
            } else {
                fxp_update(site, &weights[at], &momentum[at], gradients[at], index + (uint32_t)c);
            }
        }
        index += apart;
    }
}

#endif
