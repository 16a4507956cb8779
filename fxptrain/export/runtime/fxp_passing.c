/* Which errors pass a value, and how they are rounded behind it. */
#include "fxp_stage.h"
#include "fxp_step.h"

#if FXP_TRAINING

/* Errors pass to these values. */
typedef struct {
    int32_t from;
    int32_t to;
} gate;

#if FXP_FUNCTIONS

/* A gate narrowed by the bounds of all functions that the values of a tensor came through, between which errors pass. */
static gate bounded(const fxp_model *model, int32_t i, gate open)
{
    gate found = open;
    const int32_t frac = model->forms[fxp_tensors[i + 1].form].frac;
    int32_t from = i, more = 1;
    while (more) { /* a stage that does not round hands on what its input let through */
        const fxp_stage *s = &fxp_stages[from];
        const fxp_bounds bounds = fxp_function_bounds(s, frac);
        if (bounds.low >= FXP_MIN_RAW(FXP_VALUE_BITS)) { /* else the format does not hold it */
            found.from = (bounds.low >= found.from) ? (int32_t)fxp_saturate(bounds.low + 1, INT32_MIN, INT32_MAX) : found.from;
        }
        found.to = (bounds.high <= found.to) ? (int32_t)fxp_saturate(bounds.high - 1, INT32_MIN, INT32_MAX) : found.to;
        from = fxp_stage_inputs[s->first_input] - 1;
        more = !s->rounds && (from >= 0);
    }
    return found;
}

#endif

static gate gate_of(const fxp_model *model, int32_t i)
{
    const fxp_tensor *tensor = &fxp_tensors[i + 1];
    gate open;
#if FXP_SATURATION_MASK
    open.from = tensor->relu ? 1 : (FXP_MIN_RAW(FXP_VALUE_BITS) + 1);
    open.to = FXP_MAX_RAW(FXP_VALUE_BITS) - 1;
#else
    open.from = tensor->relu ? 1 : INT32_MIN;
    open.to = INT32_MAX;
#endif
#if FXP_FUNCTIONS
    open = bounded(model, i, open);
#else
    (void)model;
#endif
    return open;
}

/* Whether the error of element `at` passes, by its value or by the bit that was kept of it. */
static inline int32_t is_open(const uint8_t *mask, gate open, const fxp_value *x, int32_t at)
{
#if FXP_MASKS
    if (mask != NULL) {
        return ((int32_t)mask[at / 8] >> (at % 8)) & 1;
    }
#else
    (void)mask;
#endif
    return (x[at] >= open.from) && (x[at] <= open.to);
}

#if FXP_MASKS

/* The bits of a sample, one for each value of the output of stage `i`, or NULL where the values themselves are kept. */
static uint8_t *mask_of(const fxp_model *model, int32_t i, int32_t n)
{
    const fxp_tensor *tensor = &fxp_tensors[i + 1];
    uint8_t *first = NULL;
    if (tensor->mask_at != FXP_NOWHERE) {
        first = (uint8_t *)fxp_place(model, tensor->mask_at) + n * ((tensor->elements + 7) / 8);
    }
    return first;
}

void fxp_step_mask(const fxp_model *model, int32_t i, int32_t n)
{
    uint8_t *mask = mask_of(model, i, n);
    const fxp_value *x = fxp_y_of(model, i, n);
    const int32_t elements = fxp_tensors[i + 1].elements;
    const gate open = gate_of(model, i);
    int32_t at, bit;
    for (at = 0; (at < elements) && (mask != NULL); at += 8) {
        uint32_t bits = 0;
        for (bit = 0; (bit < 8) && (at + bit < elements); bit++) {
            bits |= is_open(NULL, open, x, at + bit) ? ((uint32_t)1 << bit) : 0u;
        }
        mask[at / 8] = (uint8_t)bits;
    }
}

#endif

/* One sample's error sums on their way to the error. */
typedef struct {
    const fxp_error_sum *sums; /* of one reader */
    const int64_t *joined;     /* of several; NULL: there is one */
    const fxp_value *x;
    const uint8_t *mask;
    gate open;
    int32_t elements;
    uint32_t first; /* index of the sample's first element in the batch */
} passing;

#define FXP_NARROW_ERRORS (FXP_ERROR_STOCHASTIC && (FXP_ERROR_SUM_BITS == 32) && (FXP_ERROR_BITS < 32))

#if FXP_NARROW_ERRORS

/* Sums of one reader that lose 1 to 30 bits. */
static uint64_t finish_narrow(const passing *all, fxp_site *site, fxp_error *out)
{
    const passing p = *all;
    const int32_t shift = site->shift;
    const uint32_t rest = ((uint32_t)1 << shift) - 1u;
    uint32_t peak = 0;
    int32_t at;
    for (at = 0; at < p.elements; at++) {
        const int32_t sum = (int32_t)p.sums[at];
        int32_t value = 0;
        if ((sum != 0) && is_open(p.mask, p.open, p.x, at)) {
            const uint32_t size = (sum < 0) ? (0u - (uint32_t)sum) : (uint32_t)sum;
            peak = (size > peak) ? size : peak;
            if (out != NULL) {
                const uint32_t draw = fxp_draw(&site->draws, p.first + (uint32_t)at) >> (32 - shift);
                value = fxp_shift_right_32(sum, shift) + (int32_t)((((uint32_t)sum & rest) + draw) >> shift);
                value = fxp_store_32(site, value, FXP_MIN_RAW(FXP_ERROR_BITS), FXP_MAX_RAW(FXP_ERROR_BITS));
            }
        }
        if (out != NULL) {
            out[at] = (fxp_error)value;
        }
    }
    return peak;
}

#endif

static uint64_t finish_wide(const passing *all, const fxp_stage *stage, fxp_site *site, fxp_error *out)
{
    uint64_t peak = 0;
    int32_t at;
#if !FXP_FUNCTIONS
    (void)stage;
#endif
    for (at = 0; at < all->elements; at++) {
        int64_t sum = (all->joined != NULL) ? all->joined[at] : (int64_t)all->sums[at];
        sum = is_open(all->mask, all->open, all->x, at) ? sum : 0;
#if FXP_FUNCTIONS
        sum = (stage->added_frac > 0) ? fxp_function_error(stage, all->x[at], sum) : sum;
#endif
        peak = fxp_larger(peak, sum);
        if (out != NULL) { /* zero rounds to zero whatever the draw */
            out[at] = (fxp_error)((sum == 0) ? 0 : fxp_requantize(site, sum, all->first + (uint32_t)at));
        }
    }
    return peak;
}

void fxp_step_pass(fxp_step *step, int32_t i, int32_t n, const fxp_error_sum *sums, const int64_t *joined, fxp_site *site,
                   fxp_error *out)
{
    uint64_t peak;
    passing all;
    all.sums = sums;
    all.joined = joined;
    all.x = fxp_y_of(step->model, i, n);
    all.mask = NULL;
#if FXP_MASKS
    all.mask = mask_of(step->model, i, n);
#endif
    all.open = gate_of(step->model, i);
    all.elements = fxp_tensors[i + 1].elements;
    all.first = (uint32_t)(n * all.elements);
#if FXP_NARROW_ERRORS
    if ((joined == NULL) && (site->shift >= 1) && (site->shift <= 30) && (fxp_added_frac(&fxp_stages[i]) == 0)) {
        peak = finish_narrow(&all, site, out);
    } else {
        peak = finish_wide(&all, &fxp_stages[i], site, out);
    }
#else
    peak = finish_wide(&all, &fxp_stages[i], site, out);
#endif
    step->largest[i] = (peak > step->largest[i]) ? peak : step->largest[i];
}

#endif
