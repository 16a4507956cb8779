/* The largest sum of a pooling window, for the products of plain C and of the DSP instructions. */
#ifndef FXP_PEAK_H
#define FXP_PEAK_H

#include "fxp_quick.h"

/* Largest sum of a pooling window so far, and which entry it came from. */
typedef struct {
    fxp_forward_sum best;
    int32_t winner;
} fxp_peak;

static inline void fxp_keep_larger(fxp_peak *so_far, fxp_forward_sum sum, int32_t t)
{
    if ((t == 0) || (sum > so_far->best)) { /* the first on ties */
        so_far->best = sum;
        so_far->winner = t;
    }
}

static inline void fxp_end_peak(const fxp_forward *pass, fxp_quick quick, const fxp_peak *found, int32_t c, int32_t at)
{
    fxp_end(pass, quick, pass->y, found->best, c, at);
    if (pass->winners != NULL) {
        pass->winners[at] = (uint8_t)found->winner;
    }
}

#endif
