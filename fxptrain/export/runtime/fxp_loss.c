#include "fxp_loss.h"

#include <string.h>

#include "fxp_curve.h"
#include "fxp_model.h"
#include "fxp_sigmoid.h"

int32_t fxp_first_largest(const fxp_value *logits)
{
    int32_t c, best = 0;
    for (c = 1; c < FXP_OUTPUTS; c++) {
        if (logits[c] > logits[best]) {
            best = c;
        }
    }
    return best;
}

#if FXP_TRAINING && FXP_VECTORS

fxp_status fxp_goal_status(fxp_goal goal)
{
    int32_t c;
    if (goal == NULL) {
        return FXP_LEARNS_INPUTS ? FXP_OK : FXP_BAD_ARGUMENT;
    }
    for (c = 0; c < FXP_OUTPUTS; c++) {
        const int32_t value = goal[c];
#if FXP_LEARNS_LABELS
        if ((value != 0) && (value != 1)) {
            return FXP_BAD_LABEL;
        }
#else
        if ((value < FXP_MIN_RAW(FXP_VALUE_BITS)) || (value > FXP_MAX_RAW(FXP_VALUE_BITS))) {
            return FXP_BAD_LABEL;
        }
#endif
    }
    return FXP_OK;
}

fxp_goal fxp_goal_at(const fxp_goal_item *goals, int32_t n)
{
    return (goals == NULL) ? NULL : (goals + n * FXP_OUTPUTS);
}

void fxp_goal_keep(fxp_model *model, int32_t n, fxp_goal goal)
{
    fxp_value *kept = model->goals + n * FXP_OUTPUTS;
#if FXP_LEARNS_INPUTS
    memcpy(kept, (goal == NULL) ? fxp_loaded_input(model, n) : goal, FXP_OUTPUTS * sizeof(fxp_value));
#else
    memcpy(kept, goal, FXP_OUTPUTS * sizeof(fxp_value));
#endif
}

int32_t fxp_is_right(const fxp_value *logits, fxp_goal goal)
{
#if FXP_LEARNS_LABELS
    int32_t c;
    for (c = 0; c < FXP_OUTPUTS; c++) {
        if ((logits[c] > 0) != (goal[c] != 0)) {
            return 0;
        }
    }
    return 1;
#else
    (void)logits;
    (void)goal;
    return 0;
#endif
}

#elif FXP_TRAINING

fxp_status fxp_goal_status(fxp_goal goal)
{
    return (goal < FXP_OUTPUTS) ? FXP_OK : FXP_BAD_LABEL;
}

fxp_goal fxp_goal_at(const fxp_goal_item *goals, int32_t n)
{
    return goals[n];
}

void fxp_goal_keep(fxp_model *model, int32_t n, fxp_goal goal)
{
    model->goals[n] = goal;
}

int32_t fxp_is_right(const fxp_value *logits, fxp_goal goal)
{
    return (fxp_first_largest(logits) == (int32_t)goal) ? 1 : 0;
}

#endif

#if FXP_TRAINING && FXP_WEIGHT_FRAC > 0

/* A loss times the weight of a class, rounded down. */
static int64_t weighted(int64_t loss, int32_t weight)
{
    return fxp_shift_right(loss * weight, FXP_WEIGHT_FRAC);
}

#if !FXP_VECTORS

/* The same of a sample's only class, with all of its sums. */
static int64_t weighted_class(int64_t loss, int32_t weight, int64_t *sums)
{
    int32_t c;
    for (c = 0; c < FXP_OUTPUTS; c++) {
        sums[c] *= weight;
    }
    return weighted(loss, weight);
}

#endif

#endif

#if FXP_TRAINING && (FXP_CROSS_ENTROPY || FXP_LEARNS_LABELS)

#define FXP_LN_2 45426 /* round(ln(2) * 2^16) */
#define FXP_FRACTION 16
#define FXP_CERTAIN ((int64_t)1 << FXP_PROBABILITY_FRAC)

/* log2(value) with 16 fractional bits for value >= 1. */
static int64_t log2_fixed(int64_t value)
{
    int32_t whole = 0, k, rest;
    int64_t fraction;
    while ((value >> (whole + 1)) != 0) {
        whole++;
    }
    fraction = value - ((int64_t)1 << whole);
    fraction = (whole <= 46) ? ((fraction * ((int64_t)1 << 16)) >> whole) : (fraction >> (whole - 16));
    k = (int32_t)(fraction >> 8);
    rest = (int32_t)(fraction & 255);
    return ((int64_t)whole * 65536) + fxp_log2[k] + (((fxp_log2[k + 1] - fxp_log2[k]) * rest) >> 8);
}

#endif

#if FXP_TRAINING && FXP_CROSS_ENTROPY

#define FXP_LOG2_E 774541002 /* round(log2(e) * 2^29) */

/* 2^-t with 30 fractional bits for t >= 0 with 16: a table, linear between its entries. */
static int64_t exp2_negative(int64_t t)
{
    const int64_t whole = fxp_shift_right(t, 16);
    const int32_t k = (int32_t)((t / 256) % 256), rest = (int32_t)(t % 256);
    int64_t value;
    if (whole >= 31) {
        return 0;
    }
    value = (int64_t)(fxp_exp2[k] - fxp_exp2[k + 1]) * rest;
    return fxp_shift_right(fxp_exp2[k] - fxp_shift_right(value, 8), (int32_t)whole);
}

int64_t fxp_loss_sums(const fxp_value *logits, int32_t frac, fxp_goal goal, int64_t *sums)
{
    const int64_t other = ((int64_t)FXP_SMOOTHING << (FXP_PROBABILITY_FRAC - FXP_FRACTION)) / FXP_OUTPUTS;
    const int64_t own = FXP_CERTAIN - (FXP_OUTPUTS - 1) * other;
    const int64_t top = logits[fxp_first_largest(logits)];
    int64_t total = 0, behind = 0, loss;
    int32_t c;
    for (c = 0; c < FXP_OUTPUTS; c++) {
        sums[c] = exp2_negative(fxp_shift_right((top - logits[c]) * FXP_LOG2_E, 13 + frac));
        total += sums[c];
    }
    for (c = 0; c < FXP_OUTPUTS; c++) {
        const int64_t target = (c == (int32_t)goal) ? own : other;
        sums[c] = (sums[c] * FXP_CERTAIN) / total - target;
        behind += (top - logits[c]) * target;
    }
    loss = fxp_shift_right((log2_fixed(total) - ((int64_t)FXP_PROBABILITY_FRAC << FXP_FRACTION)) * FXP_LN_2, 16);
    loss += fxp_shift_right(behind, FXP_PROBABILITY_FRAC - FXP_FRACTION + frac);
#if FXP_WEIGHT_FRAC > 0
    loss = weighted_class(loss, fxp_class_weights[goal], sums);
#endif
    return loss;
}

#elif FXP_TRAINING && FXP_LEARNS_LABELS

int64_t fxp_loss_sums(const fxp_value *logits, int32_t frac, fxp_goal goal, int64_t *sums)
{
    const int64_t absent = (int64_t)FXP_SMOOTHING << (FXP_PROBABILITY_FRAC - FXP_FRACTION - 1);
    int64_t loss = 0;
    int32_t c;
    for (c = 0; c < FXP_OUTPUTS; c++) {
        const int64_t target = (goal[c] != 0) ? (FXP_CERTAIN - absent) : absent;
        const int64_t p = fxp_sigmoid_at(fxp_curve_input(logits[c], frac));
        const int64_t size = (logits[c] < 0) ? -(int64_t)logits[c] : logits[c];
        const int64_t off = size * ((logits[c] > 0) ? (FXP_CERTAIN - target) : target);
        const int64_t sure = log2_fixed((p > FXP_CERTAIN - p) ? p : (FXP_CERTAIN - p));
        int64_t value = fxp_shift_right((((int64_t)FXP_PROBABILITY_FRAC << FXP_FRACTION) - sure) * FXP_LN_2, 16);
        value += fxp_shift_right(off, FXP_PROBABILITY_FRAC - FXP_FRACTION + frac);
        sums[c] = p - target;
#if FXP_WEIGHT_FRAC > 0
        {
            const int32_t weight = (goal[c] != 0) ? fxp_class_weights[c] : (1 << FXP_WEIGHT_FRAC);
            sums[c] *= weight;
            value = weighted(value, weight);
        }
#endif
        loss += value;
    }
    return loss;
}

#elif FXP_TRAINING

/* sum((z - t)^2) / 2, every term floored to 16 fractional bits; t is a vector, or a one for the class among zeros. */
int64_t fxp_loss_sums(const fxp_value *logits, int32_t frac, fxp_goal goal, int64_t *sums)
{
    const int32_t drop = 2 * frac + 1 - 16;
    int64_t loss = 0;
    int32_t c;
    for (c = 0; c < FXP_OUTPUTS; c++) {
        sums[c] = logits[c];
#if FXP_VECTORS
        sums[c] -= goal[c];
#else
        if (c == (int32_t)goal) {
            sums[c] -= fxp_shift_left(1, frac);
        }
#endif
        if (drop >= 0) {
            loss += fxp_shift_right(sums[c] * sums[c], drop);
        } else {
            loss += fxp_shift_left(sums[c] * sums[c], -drop);
        }
    }
#if FXP_WEIGHT_FRAC > 0
    loss = weighted_class(loss, fxp_class_weights[goal], sums);
#endif
    return loss;
}

#endif
