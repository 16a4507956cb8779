#include "fxp_formats.h"

#if FXP_TRAINING

#define FXP_SATURATED_SHARE_BITS 12 /* widen when more than 2^-12 of the values saturated */
#define FXP_HEADROOM_BITS 3
#if FXP_SATURATION > 0
#define FXP_FAR_SHARE_BITS (FXP_SATURATION - 4) /* 16 times as many as may saturate are far too many in a step, */
#define FXP_RARER_BITS 3 /* a finer scale waits for an eighth of the errors that may saturate */
#else
#define FXP_FAR_SHARE_BITS 2 /* or, where nothing is said, a quarter of all */
#endif

void fxp_form_note(fxp_form *form, uint32_t saturated, uint32_t total, int32_t largest)
{
    form->saturated += saturated;
    form->total += total;
    form->largest = (largest > form->largest) ? largest : form->largest;
}

int32_t fxp_form_move(fxp_form *form, const fxp_form_start *start, int32_t change)
{
    const int32_t before = form->frac;
    int32_t frac = before + change;
    frac = (frac < start->min_frac) ? start->min_frac : frac;
    form->frac = (frac > start->max_frac) ? start->max_frac : frac;
    return form->frac - before;
}

static void start_anew(fxp_form *form)
{
    form->saturated = 0;
    form->total = 0;
    form->largest = 0;
}

int32_t fxp_form_overran(const fxp_form_start *start, uint32_t saturated, uint32_t total)
{
#if FXP_FAR_SHARE_BITS > 0
    return ((start->adaptive != 0) && (saturated > (total >> FXP_FAR_SHARE_BITS))) ? 1 : 0;
#else
    (void)start; /* as all values of a step are no more than may saturate */
    (void)saturated;
    (void)total;
    return 0;
#endif
}

int32_t fxp_form_widen(fxp_form *form, const fxp_form_start *start)
{
    start_anew(form);
    return fxp_form_move(form, start, -1);
}

int32_t fxp_form_adapt(fxp_form *form, const fxp_form_start *start, int32_t saturation)
{
    const fxp_form seen = *form;
    const int32_t rare = (saturation > 0) ? saturation : FXP_SATURATED_SHARE_BITS;
    const int32_t room = (saturation > 0) ? 2 : 3;
    const int32_t small = (start->bits > room) ? (start->bits - room) : 0;
    start_anew(form);
    if ((start->adaptive == 0) || (seen.total == 0)) {
        return 0;
    }
    if (seen.saturated > (seen.total >> rare)) {
        return fxp_form_move(form, start, -1);
    }
    if ((seen.largest > 0) && (seen.largest < ((int32_t)1 << small))) {
        return fxp_form_move(form, start, 1);
    }
    return fxp_form_move(form, start, 0);
}

static int32_t bit_length(uint64_t value)
{
    int32_t bits = 0;
    while (value != 0) {
        value >>= 1;
        bits++;
    }
    return bits;
}

int32_t fxp_scale_fitting(uint64_t largest, int32_t sum_frac)
{
    const uint64_t most = (uint64_t)FXP_MAX_RAW(FXP_ERROR_BITS);
    int32_t shift, frac;
    if (largest == 0) {
        return FXP_MAX_ERROR_FRAC;
    }
    shift = bit_length(largest) - (FXP_ERROR_BITS - 1);
    if ((largest << ((shift < 0) ? -shift : 0)) > (most << ((shift > 0) ? shift : 0))) {
        shift++;
    }
    frac = sum_frac - shift;
    frac = (frac > FXP_MAX_ERROR_FRAC) ? FXP_MAX_ERROR_FRAC : frac;
    return (frac < -FXP_MAX_ERROR_FRAC) ? -FXP_MAX_ERROR_FRAC : frac;
}

void fxp_scale_note(fxp_scale *scale, uint64_t largest, int32_t sum_frac, uint32_t saturated, uint32_t total)
{
    const int32_t before = scale->frac, fitting = fxp_scale_fitting(largest, sum_frac);
    int32_t calm = (fitting > before) ? 1 : 0;
#if FXP_SATURATION > 0
    const uint32_t may = total >> FXP_SATURATION;
    if ((may > 0u) && (saturated <= (may >> FXP_RARER_BITS)) && (before < sum_frac)) {
        calm = 1;
    }
    if (saturated > may) {
        calm = 0;
        scale->frac = ((before < sum_frac) ? before : sum_frac) - 1;
        scale->frac = (scale->frac < -FXP_MAX_ERROR_FRAC) ? -FXP_MAX_ERROR_FRAC : scale->frac;
    }
#else
    (void)saturated;
    (void)total;
    scale->frac = (fitting < before) ? fitting : before;
#endif
    scale->calm = (calm != 0) ? (scale->calm + 1) : 0;
    if (scale->calm == FXP_CALM_STEPS) {
        scale->frac = (before < FXP_MAX_ERROR_FRAC) ? (before + 1) : FXP_MAX_ERROR_FRAC;
        scale->calm = 0;
    }
}

/* Whether largest * 2^up > limit. */
static int32_t exceeds(uint64_t largest, int32_t up, uint64_t limit)
{
    if (largest == 0) {
        return 0;
    }
    if (up >= 0) {
        return (up > 63) || (largest > (limit >> up));
    }
    return (up > -64) && (((largest - 1) >> -up) >= limit);
}

int32_t fxp_momentum_fitting(uint64_t largest, int32_t frac, int32_t count, int32_t finest)
{
    const uint64_t limit = (uint64_t)FXP_MAX_RAW(FXP_MOMENTUM_BITS) * (uint64_t)(uint32_t)count;
    while ((finest > -FXP_MAX_MOMENTUM_FRAC) && exceeds(largest, finest - frac + FXP_HEADROOM_BITS, limit)) {
        finest--;
    }
    return finest;
}

#endif
