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
    site->narrow = (FXP_FEEDBACK == 0) && (FXP_PARAM_BITS < 32) && (FXP_MOMENTUM_BITS < 32) && site->keep.narrow && site->gradient.narrow
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

/* Drop the guard bits: `fxp_requantize` with its shift known, before it saturates. */
static int64_t rounded(fxp_site *site, int64_t sum, uint32_t index)
{
#if FXP_UPDATE_STOCHASTIC
    const uint32_t draw = fxp_draw(&site->draws, index) >> (32 - FXP_GUARD);
    return fxp_shift_right(sum + (int64_t)draw, FXP_GUARD);
#else
    (void)site;
    (void)index;
    return fxp_round_half_even(sum, FXP_GUARD);
#endif
}

#if FXP_FEEDBACK

/* Round a weight by the sum of its momentum's terms, then that sum with what the rounding added. */
static void feed_back(fxp_update_site *site, fxp_param *weight, fxp_momentum *momentum, int64_t sum, uint32_t index)
{
    const int64_t one = (int64_t)1 << FXP_GUARD;
    const int64_t total = fxp_saturate(sum, FXP_MIN_RAW(FXP_MOMENTUM_BITS) * one, FXP_MAX_RAW(FXP_MOMENTUM_BITS) * one);
    const int64_t pull = apply(&site->rate, fxp_shift_right(total, FXP_GUARD - FXP_KEPT));
    const int64_t target = ((int64_t)*weight * one) - pull;
    const int64_t value = rounded(&site->site, target, index);
    const int64_t added = fxp_shift_right((value * one) - target + ((int64_t)1 << (FXP_GUARD - FXP_KEPT - 1)), FXP_GUARD - FXP_KEPT);
    const int64_t moved = rounded(&site->momentum_site, total + apply(&site->feedback, added), index);
    *weight = (fxp_param)fxp_store(&site->site, value);
    *momentum = (fxp_momentum)fxp_store(&site->momentum_site, moved);
}

#endif

void fxp_update(fxp_update_site *site, fxp_param *weight, fxp_momentum *momentum, int64_t gradient, uint32_t index)
{
    int64_t sum = apply(&site->keep, *momentum);
    sum += apply(&site->gradient, gradient);
    sum += apply(&site->decay, *weight);
#if FXP_FEEDBACK
    feed_back(site, weight, momentum, sum, index);
#else
    *momentum = (fxp_momentum)fxp_store(&site->momentum_site, rounded(&site->momentum_site, sum, index));
    sum = (int64_t)*weight * ((int64_t)1 << FXP_GUARD);
    sum -= apply(&site->rate, *momentum);
    *weight = (fxp_param)fxp_store(&site->site, rounded(&site->site, sum, index));
#endif
}

/* Drop the guard bits where what is left fits 32. */
static inline int32_t settle_narrow(fxp_site *site, int64_t sum, uint32_t draw, int32_t bits)
{
#if FXP_UPDATE_STOCHASTIC
    const int32_t value = (int32_t)fxp_shift_right(sum + (int64_t)(draw >> (32 - FXP_GUARD)), FXP_GUARD);
#else
    const int32_t value = (int32_t)fxp_round_half_even(sum, FXP_GUARD);
    (void)draw;
#endif
    return fxp_store_32(site, value, FXP_MIN_RAW(bits), FXP_MAX_RAW(bits));
}

/* The draws of a parameter's momentum and of its value. */
typedef struct {
    uint32_t momentum, value;
} update_draws;

static inline void update_narrow(fxp_update_site *site, fxp_param *weight, fxp_momentum *momentum, int32_t gradient,
                                 update_draws draws)
{
    const int32_t value = *weight;
    int64_t sum = (int64_t)*momentum * (int32_t)site->keep.factor;
    int32_t moved;
    sum += (int64_t)gradient * (int32_t)site->gradient.factor;
    sum += (int64_t)value * (int32_t)site->decay.factor;
    moved = settle_narrow(&site->momentum_site, sum, draws.momentum, FXP_MOMENTUM_BITS);
    *momentum = (fxp_momentum)moved;
    sum = (int64_t)value * ((int32_t)1 << FXP_GUARD);
    sum += (int64_t)moved * -(int32_t)site->rate.factor;
    *weight = (fxp_param)settle_narrow(&site->site, sum, draws.value, FXP_PARAM_BITS);
}

static inline update_draws draws_of(fxp_update_site *site, uint32_t index)
{
    update_draws draws = {0, 0};
#if FXP_UPDATE_STOCHASTIC
    draws.momentum = fxp_draw(&site->momentum_site.draws, index);
    draws.value = fxp_draw(&site->site.draws, index);
#else
    (void)site;
    (void)index;
#endif
    return draws;
}

#if FXP_MVE && FXP_UPDATE_STOCHASTIC

/* Two channels' weights of four taps at a time, whose draws are made together; returns how many taps are done. */
static int32_t update_pairs(fxp_update_site *site, fxp_param *weights, fxp_momentum *momentum, const fxp_gradient_sum *gradients,
                            int32_t taps, uint32_t index, uint32_t apart)
{
    uint32_t momentum_draws[4][2], value_draws[4][2];
    int32_t k, j;
    for (k = 0; k < taps; k += 4) {
        fxp_draw_pairs(&site->momentum_site.draws, index, apart, momentum_draws);
        fxp_draw_pairs(&site->site.draws, index, apart, value_draws);
        for (j = 0; (j < 4) && (k + j < taps); j++) {
            const update_draws first = {momentum_draws[j][0], value_draws[j][0]};
            const update_draws second = {momentum_draws[j][1], value_draws[j][1]};
            const int32_t at = k + j, other = at + taps;
            update_narrow(site, &weights[at], &momentum[at], (int32_t)gradients[at], first);
            update_narrow(site, &weights[other], &momentum[other], (int32_t)gradients[other], second);
        }
        index += 4u * apart;
    }
    return taps;
}

#endif

void fxp_update_weights(fxp_update_site *site, fxp_param *weights, fxp_momentum *momentum, const fxp_gradient_sum *gradients,
                        int32_t channels, int32_t taps, uint32_t index, uint32_t apart)
{
    int32_t k = 0, c;
#if FXP_MVE && FXP_UPDATE_STOCHASTIC
    if (site->narrow && (channels == 2) && (((index | apart) & 1u) == 0)) {
        k = update_pairs(site, weights, momentum, gradients, taps, index, apart);
    }
#endif
    for (; k < taps; k++) {
        for (c = 0; c < channels; c++) {
            const int32_t at = c * taps + k;
            if (site->narrow) {
                update_narrow(site, &weights[at], &momentum[at], (int32_t)gradients[at], draws_of(site, index + (uint32_t)c));
            } else {
                fxp_update(site, &weights[at], &momentum[at], gradients[at], index + (uint32_t)c);
            }
        }
        index += apart;
    }
}

#endif
