/* Which errors pass a value, and how they are rounded behind it. */
#include <string.h>

#include "fxp_stage.h"
#include "fxp_step.h"

#if FXP_TRAINING

#if FXP_MVE
#include <arm_mve.h>
#endif

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

#if FXP_NARROW_ERRORS && FXP_MVE

/* Which of four values errors pass, of those in `lanes`. */
static inline mve_pred16_t open_lanes(const passing *p, int32_t at, mve_pred16_t lanes)
{
    int32x4_t x;
#if FXP_MASKS
    if (p->mask != NULL) {
        const uint32_t bits = ((uint32_t)p->mask[at / 8] >> (at % 8)) & 15u;
        return (mve_pred16_t)(((bits | (bits << 3) | (bits << 6) | (bits << 9)) & 0x1111u) * 15u) & lanes;
    }
#endif
#if FXP_VALUE_BITS <= 8
    x = vldrbq_z_s32(p->x + at, lanes);
#elif FXP_VALUE_BITS <= 16
    x = vldrhq_z_s32(p->x + at, lanes);
#else
    x = vldrwq_z_s32(p->x + at, lanes);
#endif
    return vcmpleq_m_n_s32(x, p->open.to, vcmpgeq_m_n_s32(x, p->open.from, lanes));
}

/* The errors of up to FXP_ROUNDED sums: those that do not pass are zero, whatever the draw. */
#define FXP_ROUNDED 32

static void round_errors(const int32_t *sums, fxp_site *site, uint32_t first, int32_t count, fxp_error *out)
{
    const int32x4_t down = vdupq_n_s32(-site->shift), rest = vdupq_n_s32((int32_t)(((uint32_t)1 << site->shift) - 1u));
    uint32_t room[FXP_DRAWS_ROOM(FXP_ROUNDED)];
    const uint32_t *draws = fxp_draws_of(&site->draws, first, count, room);
    uint32x4_t saturated = vdupq_n_u32(0), largest = vdupq_n_u32((uint32_t)site->largest);
    int32_t i;
    for (i = 0; i < count; i += 4) {
        const mve_pred16_t lanes = vctp32q((uint32_t)(count - i));
        const int32x4_t sum = vldrwq_s32(sums + i);
        const uint32x4_t draw = vshlq_u32(vldrwq_z_u32(draws + i, lanes), vdupq_n_s32(site->shift - 32));
        const int32x4_t carry = vaddq_s32(vandq_s32(sum, rest), vreinterpretq_s32_u32(draw));
        const int32x4_t value = vaddq_s32(vshlq_s32(sum, down), vshlq_s32(carry, down));
        const int32x4_t kept = vminq_s32(vmaxq_s32(value, vdupq_n_s32(FXP_MIN_RAW(FXP_ERROR_BITS))),
                                         vdupq_n_s32(FXP_MAX_RAW(FXP_ERROR_BITS)));
        saturated = vaddq_u32(saturated, vminq_u32(vreinterpretq_u32_s32(vabdq_s32(value, kept)), vdupq_n_u32(1)));
        largest = vmaxaq_s32(largest, kept);
#if FXP_ERROR_BITS <= 8
        vstrbq_p_s32(out + i, kept, lanes);
#elif FXP_ERROR_BITS <= 16
        vstrhq_p_s32(out + i, kept, lanes);
#else
        vstrwq_p_s32(out + i, kept, lanes);
#endif
    }
    site->saturated += vaddvq_u32(saturated);
    site->largest = (int32_t)vmaxvq_u32(0, largest);
}

/* Sums of one reader that lose 1 to 30 bits. */
static uint64_t finish_narrow(const passing *all, fxp_site *site, fxp_error *out)
{
    const passing p = *all;
    uint32x4_t peak = vdupq_n_u32(0);
    int32_t passed[FXP_ROUNDED], at, i;
    for (at = 0; at < p.elements; at += FXP_ROUNDED) {
        const int32_t count = (p.elements - at < FXP_ROUNDED) ? (p.elements - at) : FXP_ROUNDED;
        uint32x4_t largest = vdupq_n_u32(0);
        for (i = 0; i < count; i += 4) {
            const mve_pred16_t lanes = open_lanes(&p, at + i, vctp32q((uint32_t)(count - i)));
            const int32x4_t sum = vldrwq_z_s32(p.sums + at + i, lanes);
            vstrwq_s32(passed + i, sum);
            largest = vmaxaq_s32(largest, sum);
        }
        peak = vmaxq_u32(peak, largest);
        if (out == NULL) {
            continue;
        }
        if (vmaxvq_u32(0, largest) == 0) {
            memset(out + at, 0, (size_t)count * sizeof out[0]);
        } else {
            round_errors(passed, site, p.first + (uint32_t)at, count, out + at);
        }
    }
    return vmaxvq_u32(0, peak);
}

#elif FXP_NARROW_ERRORS

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
