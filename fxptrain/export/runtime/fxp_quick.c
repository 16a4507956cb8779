#include "fxp_quick.h"

fxp_quick fxp_quick_of(const fxp_forward *pass, int32_t taps)
{
    const fxp_site *site = pass->site;
    const int64_t products = (int64_t)taps * ((int64_t)1 << (FXP_VALUE_BITS + FXP_PARAM_BITS - 2));
#if FXP_FUNCTIONS
    fxp_quick quick = {0, NULL, 0, 0, 0, 1, 0, 0};
#else
    fxp_quick quick = {0, NULL, 0, 0, 0, 1, 0};
#endif
    if ((FXP_FORWARD_SUM_BITS == 32) && site->uncounted && !site->stochastic && (pass->lift == 0) && (site->shift >= 1)
        && (site->shift <= 30) && (pass->bias_shift <= 30) && (fxp_added_frac(pass->stage) == 0)) {
        const int64_t unit = (int64_t)1 << pass->bias_shift;
        const int64_t biases = (pass->bias == NULL) ? 0 : (unit * ((int64_t)1 << (FXP_PARAM_BITS - 1)));
        if (products + biases + ((int64_t)1 << site->shift) <= INT32_MAX) {
            quick.possible = 1;
            quick.bias = pass->bias;
            quick.unit = (int32_t)unit;
            quick.half = (int32_t)1 << (site->shift - 1);
            quick.rest = (int32_t)(((int64_t)1 << site->shift) - 1);
            quick.shift = site->shift;
            quick.low = pass->stage->relu ? 0 : FXP_MIN_RAW(FXP_VALUE_BITS);
#if FXP_FUNCTIONS
            quick.low = (pass->outputs.low > quick.low) ? (int32_t)pass->outputs.low : quick.low;
            quick.high = (int32_t)pass->outputs.high;
#endif
        }
    }
    return quick;
}
