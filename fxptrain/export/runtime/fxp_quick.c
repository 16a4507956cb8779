#include "fxp_quick.h"

#include <string.h>

fxp_quick fxp_quick_of(const fxp_forward *pass, int32_t taps)
{
    const fxp_site *site = pass->site;
    const int64_t products = (int64_t)taps * ((int64_t)1 << (FXP_VALUE_BITS + FXP_PARAM_BITS - 2));
    fxp_quick quick;
    memset(&quick, 0, sizeof quick);
    quick.shift = 1;
    if ((FXP_FORWARD_SUM_BITS == 32) && (FXP_VALUE_BITS < 32) && (pass->lift == 0) && (site->shift >= 1) && (site->shift <= 30)
        && (pass->bias_shift <= 30) && (fxp_added_frac(pass->stage) == 0)) {
        const int64_t unit = (int64_t)1 << pass->bias_shift;
        const int64_t biases = (pass->bias == NULL) ? 0 : (unit * ((int64_t)1 << (FXP_PARAM_BITS - 1)));
        if (products + biases + ((int64_t)1 << site->shift) <= INT32_MAX) {
            quick.possible = site->uncounted && !site->stochastic;
            quick.bias = pass->bias;
            quick.unit = (int32_t)unit;
            quick.half = site->stochastic ? 0 : ((int32_t)1 << (site->shift - 1));
            quick.rest = (int32_t)(((int64_t)1 << site->shift) - 1);
            quick.shift = site->shift;
            quick.low = pass->stage->relu ? 0 : FXP_MIN_RAW(FXP_VALUE_BITS);
#if FXP_FUNCTIONS
            quick.high = pass->high;
#endif
#if FXP_TRAINING
            quick.counted = !quick.possible;
#endif
        }
    }
    return quick;
}

#if FXP_TRAINING

/* The output of a sum, rounded as the site says and counted. */
static fxp_value counted_end(const fxp_forward *pass, int32_t sum, int32_t at)
{
    fxp_site *site = pass->site;
    const int32_t relu = pass->stage->relu, shift = site->shift;
    int32_t value = sum;
    if (relu && (sum <= 0)) {
        return 0; /* whatever the draw */
    }
    if (site->stochastic) {
#if FXP_FUNCTIONS
        value = (value > pass->ceiling) ? (int32_t)pass->ceiling : value;
#endif
        value += (int32_t)(fxp_draw(&site->draws, pass->first + (uint32_t)at) >> (32 - shift));
        value = fxp_shift_right_32(value, shift);
    } else {
#if FXP_FUNCTIONS
        const int64_t most = (pass->ceiling == INT64_MAX) ? INT64_MAX : (pass->ceiling + ((int32_t)1 << (shift - 1)));
        value = (value > most) ? (int32_t)most : value;
#endif
        value = fxp_half_even_32(value, shift, ((int32_t)1 << shift) - 1);
    }
    return (fxp_value)fxp_store_32(site, value, relu ? 0 : FXP_MIN_RAW(FXP_VALUE_BITS), FXP_MAX_RAW(FXP_VALUE_BITS));
}

void fxp_end_other(const fxp_forward *pass, int32_t counted, fxp_forward_sum best, int32_t c, int32_t at)
{
    if (counted) {
        pass->y[at] = counted_end(pass, (int32_t)best, at);
    } else {
        fxp_finish(pass, best, c, at);
    }
}

#endif
