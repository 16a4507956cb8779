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
#if FXP_FEEDBACK /* of products of 47 bits and 8 more, those without guard bits fit 32 */
    const int32_t narrow = (FXP_MOMENTUM_BITS <= 32 - FXP_KEPT) && (site->rate.left <= 8) && (site->feedback.left <= 8);
#else
    const int32_t narrow = site->rate.narrow;
#endif
    site->narrow = (FXP_PARAM_BITS < 32) && (FXP_MOMENTUM_BITS < 32) && site->keep.narrow && site->gradient.narrow
                   && site->decay.narrow && narrow;
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

/* The draws of a parameter's momentum and of its value. */
typedef struct {
    uint32_t momentum, value;
} update_draws;

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

/* Drop the guard bits: `fxp_requantize` with its shift known, before it saturates. */
static inline int64_t rounded(int64_t sum, uint32_t draw)
{
#if FXP_UPDATE_STOCHASTIC
    return fxp_shift_right(sum + (int64_t)(draw >> (32 - FXP_GUARD)), FXP_GUARD);
#else
    (void)draw;
    return fxp_round_half_even(sum, FXP_GUARD);
#endif
}

/* Saturate a rounded value that fits 32 bits. */
static inline int32_t store_32(fxp_site *site, int64_t value, int32_t bits)
{
    return fxp_store_32(site, (int32_t)value, FXP_MIN_RAW(bits), FXP_MAX_RAW(bits));
}

#if FXP_FEEDBACK

/* A term of 32 bits, which mostly goes to the right. */
static inline int64_t apply_32(const fxp_term *term, int32_t value)
{
    return (term->left > 0) ? apply(term, value) : fxp_shift_right((int64_t)value * term->mantissa, term->right);
}

/* Round a weight by the sum of its momentum's terms, then that sum with what the rounding added. */
static inline void feed_back(fxp_update_site *site, fxp_param *weight, fxp_momentum *momentum, int64_t sum, update_draws draws,
                             int32_t narrow)
{
    const int64_t one = (int64_t)1 << FXP_GUARD, half = (int64_t)1 << (FXP_GUARD - FXP_KEPT - 1);
    const int64_t total = fxp_saturate(sum, FXP_MIN_RAW(FXP_MOMENTUM_BITS) * one, FXP_MAX_RAW(FXP_MOMENTUM_BITS) * one);
    const int64_t cut = fxp_shift_right(total, FXP_GUARD - FXP_KEPT);
#if FXP_MOMENTUM_BITS <= 32 - FXP_KEPT
    const int64_t target = ((int64_t)*weight * one) - apply_32(&site->rate, (int32_t)cut);
#else
    const int64_t target = ((int64_t)*weight * one) - apply(&site->rate, cut);
#endif
    const int64_t value = rounded(target, draws.value);
    const int32_t added = (int32_t)fxp_shift_right((value * one) - target + half, FXP_GUARD - FXP_KEPT);
    const int64_t moved = rounded(total + apply_32(&site->feedback, added), draws.momentum);
    if (narrow != 0) {
        *weight = (fxp_param)store_32(&site->site, value, FXP_PARAM_BITS);
        *momentum = (fxp_momentum)store_32(&site->momentum_site, moved, FXP_MOMENTUM_BITS);
    } else {
        *weight = (fxp_param)fxp_store(&site->site, value);
        *momentum = (fxp_momentum)fxp_store(&site->momentum_site, moved);
    }
    site->momentum_site.saturated += ((total != sum) && (*momentum == moved)) ? 1u : 0u; /* the others are counted */
}

#endif

void fxp_update(fxp_update_site *site, fxp_param *weight, fxp_momentum *momentum, int64_t gradient, uint32_t index)
{
    const update_draws draws = draws_of(site, index);
    int64_t sum = apply(&site->keep, *momentum);
    sum += apply(&site->gradient, gradient);
    sum += apply(&site->decay, *weight);
#if FXP_FEEDBACK
    feed_back(site, weight, momentum, sum, draws, 0);
#else
    *momentum = (fxp_momentum)fxp_store(&site->momentum_site, rounded(sum, draws.momentum));
    sum = (int64_t)*weight * ((int64_t)1 << FXP_GUARD);
    sum -= apply(&site->rate, *momentum);
    *weight = (fxp_param)fxp_store(&site->site, rounded(sum, draws.value));
#endif
}

static inline void update_narrow(fxp_update_site *site, fxp_param *weight, fxp_momentum *momentum, int32_t gradient,
                                 update_draws draws)
{
    const int32_t value = *weight;
    int64_t sum = (int64_t)*momentum * (int32_t)site->keep.factor;
    sum += (int64_t)gradient * (int32_t)site->gradient.factor;
    sum += (int64_t)value * (int32_t)site->decay.factor;
#if FXP_FEEDBACK
    feed_back(site, weight, momentum, sum, draws, 1);
#else
    const int32_t moved = store_32(&site->momentum_site, rounded(sum, draws.momentum), FXP_MOMENTUM_BITS);
    *momentum = (fxp_momentum)moved;
    sum = (int64_t)value * ((int32_t)1 << FXP_GUARD);
    sum += (int64_t)moved * -(int32_t)site->rate.factor;
    *weight = (fxp_param)store_32(&site->site, rounded(sum, draws.value), FXP_PARAM_BITS);
#endif
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
