/* The public functions: a trained integer model on a microcontroller, and training that goes on there.
 *
 *     static fxp_model model;
 *     static uint64_t arena[FXP_ARENA_WORDS];
 *     fxp_init(&model, arena);
 *     number = fxp_predict(&model, inputs, logits);
 *
 * Everything is integer and computes the same bits as the Python engine. No memory is allocated, nothing is global: a
 * program may hold any number of models. One call at a time may use a model and its arena.
 *
 * Constants (fxp_config.h, fxp_interface.h): FXP_INPUTS = FXP_INPUT_H * FXP_INPUT_W * FXP_INPUT_C, FXP_OUTPUTS,
 * FXP_ARENA_BYTES, FXP_BATCH, FXP_STATE_BYTES, FXP_LABELS. The type fxp_input is uint8_t for a model of pixels, else
 * fxp_value: raw integers with FXP_INPUT_FRAC fractional bits.
 */
#ifndef FXP_H
#define FXP_H

#include "fxp_types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FXP_ARENA_WORDS ((FXP_ARENA_BYTES + 7u) / 8u)

/* What functions return where nothing better is to be told; where they tell a number, it is not negative. */
enum {
    FXP_OK = 0,
    FXP_BAD_ARGUMENT = -1, /* a null pointer, an arena out of line, a size, count, number or raw input out of range */
    FXP_BAD_LABEL = -2,    /* a class of FXP_OUTPUTS or more, a value beyond FXP_VALUE_BITS */
    FXP_BAD_RATE = -3,     /* a learning rate that is no number or far too large */
    FXP_NOT_READY = -4,    /* the model did not go through fxp_init */
    FXP_FULL = -5,         /* the batch that is being collected has no room */
    FXP_NOTHING = -6,      /* no samples to train on; no saved state */
    FXP_DAMAGED = -7,      /* bytes that are no whole state */
    FXP_FOREIGN = -8,      /* a state of another model, or of another version of this format */
    FXP_STORAGE = -9       /* a function that reads or writes failed */
};
typedef int32_t fxp_status;

/* Bring the model into the exported state. `arena` has FXP_ARENA_BYTES bytes, is aligned for int64_t and stays the
 * model's. */
fxp_status fxp_init(fxp_model *model, void *arena);

/* Class of one sample of FXP_INPUTS inputs (h, w, c): the first largest of the FXP_OUTPUTS logits, which are raw integers
 * with fxp_logit_frac() fractional bits; `logits` may be NULL. Rounds half to even. Negative: a status. */
int32_t fxp_predict(fxp_model *model, const fxp_input *inputs, int32_t *logits);

/* The same for raw integers, also of a model of pixels. */
int32_t fxp_predict_raw(fxp_model *model, const fxp_value *inputs, int32_t *logits);

/* Fractional bits of the logits; training may change them. */
int32_t fxp_logit_frac(const fxp_model *model);

#if !FXP_PIXELS
/* Raw integers of one sample of real numbers value * 2^-frac, 0 <= frac <= 31, scaled as the training data were: whole
 * numbers of a sensor have frac 0, a float becomes (int32_t)(x * 65536) with frac 16. */
fxp_status fxp_quantize_input(const int32_t *values, int32_t frac, fxp_value *inputs);
#endif

#if FXP_TRAINING

/* What samples gave, before an update. */
typedef struct {
    int64_t loss_sum; /* over the samples, natural-log units, 16 fractional bits */
    int32_t correct; /* of classes; of labels, samples of which all are right */
    int32_t samples;    /* 0: refused, and nothing happened */
    uint32_t rounded;   /* outputs of all layers that were rounded, */
    uint32_t saturated; /* and how many of them did not fit */
    fxp_status status;
} fxp_result;

/* One step of training on `count` samples, 1 to FXP_BATCH; goals are classes (uint16_t), 0 to FXP_OUTPUTS - 1, or where
 * FXP_VECTORS is 1 FXP_OUTPUTS raw integers of each sample with fxp_logit_frac() fractional bits (fxp_value), or where
 * FXP_LEARNS_LABELS is 1 each 1 or 0. NULL where FXP_LEARNS_INPUTS is 1: the inputs. */
fxp_result fxp_train_step(fxp_model *model, const fxp_input *inputs, const fxp_goal_item *goals, int32_t count,
                          fxp_multiplier rate);
fxp_result fxp_train_step_raw(fxp_model *model, const fxp_value *inputs, const fxp_goal_item *goals, int32_t count,
                              fxp_multiplier rate);

/* The same sample by sample, without a buffer for a batch: add up to FXP_BATCH of them, then finish the step (or drop
 * them). A sample's inputs are not needed after it was added. Predictions in between change nothing; they need room for
 * one sample. */
fxp_status fxp_train_add(fxp_model *model, const fxp_input *inputs, fxp_goal goal);
fxp_status fxp_train_add_raw(fxp_model *model, const fxp_value *inputs, fxp_goal goal);
fxp_result fxp_train_finish(fxp_model *model, fxp_multiplier rate);
void fxp_train_drop(fxp_model *model);

/* Loss and answer for one sample and its goal, without training; rounded half to even as fxp_predict does. */
fxp_result fxp_score(fxp_model *model, const fxp_input *inputs, fxp_goal goal);
fxp_result fxp_score_raw(fxp_model *model, const fxp_value *inputs, fxp_goal goal);

/* Learning rates: the recipe's, numerator / denominator (rounded to 15 bits; at most 2^40 each), and half of one. A rate
 * that cannot be is refused where it is used, and so is one of 16 or more, unless the recipe's is as large. */
fxp_multiplier fxp_rate_default(void);
fxp_multiplier fxp_rate_ratio(uint64_t numerator, uint64_t denominator);
fxp_multiplier fxp_rate_halved(fxp_multiplier rate);

/* A tensor's format now, and what its roundings reported since formats were last adapted. */
typedef struct {
    int32_t bits;
    int32_t frac;
    int32_t largest; /* absolute raw value */
    uint64_t saturated;
    uint64_t total;
} fxp_usage;

enum { FXP_OF_OUTPUTS = 0, FXP_OF_WEIGHTS = 1, FXP_OF_MOMENTUM = 2 };

/* Of stage 0 to FXP_STAGES - 1 (a layer with what fuses into it); FXP_NOTHING where it has no such tensor. */
fxp_status fxp_usage_of(const fxp_model *model, int32_t stage, int32_t tensor, fxp_usage *usage);

/* Finished training steps. */
uint32_t fxp_steps(const fxp_model *model);

/* The training state as FXP_STATE_BYTES bytes, the same on every machine. Whatever the bytes are, loading never reads or
 * writes outside, and where it returns anything but FXP_OK the model is as it was. */
fxp_status fxp_state_save(const fxp_model *model, uint8_t *bytes, uint32_t count);
fxp_status fxp_state_load(fxp_model *model, const uint8_t *bytes, uint32_t count);

/* Memory that keeps a state without power. The functions return FXP_OK, or anything else where they fail; `at` counts
 * bytes from the start. Every write but the last of a state has 64 bytes and begins at a multiple of 64 from where its
 * slot begins: let slots be a multiple of 64 where the memory wants aligned writes. */
typedef struct {
    void *context; /* handed to the functions */
    fxp_status (*read)(void *context, uint32_t at, uint8_t *bytes, uint32_t count);
    fxp_status (*write)(void *context, uint32_t at, const uint8_t *bytes, uint32_t count);
    fxp_status (*erase)(void *context, uint32_t at, uint32_t count); /* NULL: memory that needs none */
    uint32_t slot_bytes; /* of fxp_state_keep: FXP_STATE_BYTES or more, whole pages of what is erased at once */
} fxp_storage;

/* One state from byte 0 on, without a buffer for all of it. Writing does not erase; reading goes over the bytes twice,
 * to check and to load: where they could be read and were good the first time only, the model is not ready any more and
 * goes through fxp_init again. */
fxp_status fxp_state_write(const fxp_model *model, const fxp_storage *storage);
fxp_status fxp_state_read(fxp_model *model, const fxp_storage *storage);

/* Two slots: keep the state in the one that does not hold the newest whole state, and bring the newest whole one back.
 * Whenever power fails, the state before or the state after comes back. */
fxp_status fxp_state_keep(const fxp_model *model, const fxp_storage *storage);
fxp_status fxp_state_recall(fxp_model *model, const fxp_storage *storage);

#endif

#ifdef __cplusplus
}
#endif

#endif
