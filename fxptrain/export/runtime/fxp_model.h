/* Running the layers forward. The public functions are in fxp.h. */
#ifndef FXP_MODEL_H
#define FXP_MODEL_H

#include "fxp_rounding.h"
#include "fxp_types.h"

/* How samples come: as the model reads them or as raw integers; the other pointer is NULL. */
typedef struct {
    const fxp_input *given;
    const fxp_value *raw;
} fxp_inputs;

static inline fxp_inputs fxp_given(const fxp_input *given)
{
    fxp_inputs inputs;
    inputs.given = given;
    inputs.raw = NULL;
    return inputs;
}

static inline fxp_inputs fxp_raw(const fxp_value *raw)
{
    fxp_inputs inputs;
    inputs.given = NULL;
    inputs.raw = raw;
    return inputs;
}

/* The arena is bytes; the plan gives every array a place aligned to 8, written before it is read. */
static inline void *fxp_place(const fxp_model *model, uint32_t at)
{
    return model->arena + at;
}

#if FXP_TRAINING

/* Whether a stage's weights, or its bias, are trained: they have a momentum then. */
static inline int32_t fxp_trains_weights(const fxp_stage *stage)
{
    return stage->weights_momentum_at != FXP_NOWHERE;
}

static inline int32_t fxp_trains_bias(const fxp_stage *stage)
{
    return stage->bias_momentum_at != FXP_NOWHERE;
}

/* Copy what a stage trains, and packed weights that errors are multiplied by, into the arena, as exported. */
void fxp_copy_start(const fxp_model *model, int32_t i);

/* Whether the error at the output of stage `i` is made: something that is trained has a part in it. */
static inline int32_t fxp_needs_error(int32_t i)
{
    return fxp_tensors[i + 1].error_at != FXP_NOWHERE;
}

#endif

/* One sample's places in the arena: of input `k` of a stage, and of what it writes. */
fxp_value *fxp_x_of(const fxp_model *model, const fxp_stage *stage, int32_t k, int32_t sample);
fxp_value *fxp_y_of(const fxp_model *model, int32_t stage, int32_t sample);

/* Weights and bias in use: the arena's where they are trained, else the exported ones. */
FXP_ROM fxp_param *fxp_weights_of(const fxp_model *model, int32_t stage);
FXP_ROM fxp_param *fxp_bias_of(const fxp_model *model, int32_t stage);

#if FXP_PIXELS
/* Raw integers of the pixels of one sample. */
void fxp_look_up(const fxp_input *pixels, fxp_value *inputs);
#endif

/* Whether there are inputs of `count` samples, and raw ones within FXP_VALUE_BITS, for which sums are proved to fit. */
int32_t fxp_are_inputs(fxp_inputs inputs, int32_t count);

/* Put the raw integers of sample `sample` of `inputs` where sample number `place` of the input is read. */
void fxp_load_input(const fxp_model *model, fxp_inputs inputs, int32_t sample, int32_t place);

/* Raw inputs of the sample that was loaded into a place, until forward writes over them. */
const fxp_value *fxp_loaded_input(const fxp_model *model, int32_t place);

/* Whether the model is one and went through fxp_init. */
int32_t fxp_ready(const fxp_model *model);

/* Logits, rounded half to even, of the first of `inputs`, in a place that no sample of an open batch has; NULL: there is
 * none. */
const fxp_value *fxp_logits_of(fxp_model *model, fxp_inputs inputs);

/* The rounding site of a stage's outputs. */
fxp_site fxp_forward_site(const fxp_model *model, int32_t stage, int32_t stochastic);

/* Forward of one sample through one stage; `keep`: pool winners are wanted. */
void fxp_forward_stage(fxp_model *model, int32_t stage, int32_t sample, int32_t keep, fxp_site *site);

#endif
