#include "fxp_rounding.h"

#include "fxp_types.h"

int64_t fxp_shift_left(int64_t value, int32_t shift)
{
    int64_t limit;
    if (shift <= 0) {
        return value;
    }
    if (shift > 62) {
        return (value == 0) ? 0 : ((value < 0) ? INT64_MIN : INT64_MAX);
    }
    limit = INT64_MAX >> shift;
    if (value > limit) {
        return INT64_MAX;
    }
    return (value < -limit - 1) ? INT64_MIN : (value * ((int64_t)1 << shift));
}

int64_t fxp_round_half_even(int64_t value, int32_t shift)
{
    int64_t half;
    if (shift <= 0) {
        return fxp_shift_left(value, -shift);
    }
    half = ((int64_t)1 << (shift - 1)) - 1;
    return fxp_shift_right(value + half + (fxp_shift_right(value, shift) & 1), shift);
}

#if FXP_TRAINING

int64_t fxp_round_stochastic(int64_t value, int32_t shift, uint32_t draw)
{
    int64_t low;
    if (shift <= 0) {
        return fxp_shift_left(value, -shift);
    }
    low = (shift <= 32) ? (int64_t)((uint64_t)draw >> (32 - shift)) : (int64_t)((uint64_t)draw << (shift - 32));
    return fxp_shift_right(value + low, shift);
}

#endif

fxp_site fxp_site_at(int32_t shift, int32_t stochastic, int32_t bits, uint32_t stream, uint32_t step)
{
    fxp_site site;
    site.shift = shift;
    site.stochastic = (stochastic != 0) && (shift > 0);
    site.low = FXP_MIN_RAW(bits);
    site.high = FXP_MAX_RAW(bits);
    site.draws = fxp_draws_at(stream, step);
    site.saturated = 0;
    site.largest = 0;
    site.uncounted = 0;
    return site;
}

int32_t fxp_requantize(fxp_site *site, int64_t sum, uint32_t index)
{
#if FXP_TRAINING
    if (site->stochastic) {
        return fxp_store(site, fxp_round_stochastic(sum, site->shift, fxp_draw(&site->draws, index)));
    }
#else
    (void)index;
#endif
    return fxp_store(site, fxp_round_half_even(sum, site->shift));
}
