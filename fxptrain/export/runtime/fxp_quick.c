#include "fxp_quick.h"

#include <string.h>

/* Whether outputs end here: those that are counted do, unless a function bounds them, whose bounds count as no saturation. */
static int32_t ends_here(const fxp_forward *pass)
{
#if FXP_FUNCTIONS
    return (pass->site->uncounted && !pass->site->stochastic)
           || ((pass->bounds.low == INT64_MIN) && (pass->bounds.high == INT64_MAX));
#else
    (void)pass;
    return 1;
#endif
}

fxp_quick fxp_quick_of(const fxp_forward *pass, int32_t taps)
{
    const fxp_site *site = pass->site;
    const int64_t products = (int64_t)taps * ((int64_t)1 << (FXP_VALUE_BITS + FXP_PARAM_BITS - 2));
    fxp_quick quick;
    memset(&quick, 0, sizeof quick);
    quick.shift = 1;
    if ((FXP_FORWARD_SUM_BITS == 32) && (FXP_VALUE_BITS < 32) && (pass->lift == 0) && (site->shift >= 1) && (site->shift <= 30)
        && (pass->bias_shift <= 30) && (fxp_added_frac(pass->stage) == 0) && ends_here(pass)) {
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
            quick.low = (pass->outputs.low > quick.low) ? (int32_t)pass->outputs.low : quick.low;
            quick.high = (int32_t)pass->outputs.high;
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
        value += (int32_t)(fxp_draw(&site->draws, pass->first + (uint32_t)at) >> (32 - shift));
        value = fxp_shift_right_32(value, shift);
    } else {
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
