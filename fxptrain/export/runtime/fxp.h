/* The public functions: a trained integer model on a microcontroller, and training that goes on there.
 *
 *     static fxp_model model;
 *     static uint64_t arena[FXP_ARENA_BYTES / 8];
 *     fxp_init(&model, arena);
 *     class = fxp_predict(&model, pixels, logits);
 *
 * Everything is integer and computes the same bits as the Python engine. No memory is allocated; one call at a time may
 * use a model and its arena. Sizes are constants of fxp_config.h.
 */
#ifndef FXP_H
#define FXP_H

#include "fxp_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bring the model into the exported state. `arena` has FXP_ARENA_BYTES bytes, is aligned to 8 and stays the model's. */
void fxp_init(fxp_model *model, void *arena);

/* Class of one sample of FXP_INPUTS pixels (h, w, c): the first largest of the FXP_OUTPUTS logits, which are
 * raw integers with fxp_logit_frac() fractional bits. Rounds half to even. */
int32_t fxp_predict(fxp_model *model, const uint8_t *pixels, int32_t *logits);

/* The same for raw integers in the model's input format. */
int32_t fxp_predict_raw(fxp_model *model, const fxp_value *inputs, int32_t *logits);

/* Fractional bits of the logits; training may change them. */
int32_t fxp_logit_frac(const fxp_model *model);

#if FXP_TRAINING

/* What a training step measured before its update. */
typedef struct {
    int64_t loss_sum; /* summed over the samples, natural-log units, 16 fractional bits */
    int32_t correct;
    int32_t samples; /* 0: the arguments were refused and nothing happened */
} fxp_result;

/* One step of training on `count` samples, 1 to FXP_BATCH; labels are 0 to FXP_OUTPUTS - 1. */
fxp_result fxp_train_step(fxp_model *model, const uint8_t *pixels, const uint16_t *labels, int32_t count,
                          fxp_multiplier rate);
fxp_result fxp_train_step_raw(fxp_model *model, const fxp_value *inputs, const uint16_t *labels, int32_t count,
                              fxp_multiplier rate);

/* Learning rates: the recipe's, numerator / denominator (rounded to 15 bits; at most 2^40 each), and half of one. */
fxp_multiplier fxp_rate_default(void);
fxp_multiplier fxp_rate_ratio(uint64_t numerator, uint64_t denominator);
fxp_multiplier fxp_rate_halved(fxp_multiplier rate);

/* The training state as FXP_STATE_BYTES bytes, the same on every machine, and back. Loading returns 1, or 0 and changes
 * nothing where the bytes are damaged or another model's. */
void fxp_state_save(const fxp_model *model, uint8_t *bytes);
int32_t fxp_state_load(fxp_model *model, const uint8_t *bytes);

#endif

#ifdef __cplusplus
}
#endif

#endif
