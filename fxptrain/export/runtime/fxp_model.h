/* Running the layers forward. The public functions are in fxp.h. */
#ifndef FXP_MODEL_H
#define FXP_MODEL_H

#include "fxp_rounding.h"
#include "fxp_types.h"

/* How samples come: pixels or raw integers; the other pointer is NULL. */
typedef struct {
    const uint8_t *pixels;
    const fxp_value *raw;
} fxp_inputs;

/* The arena is bytes; the plan gives every array a place aligned to 8, written before it is read. */
static inline void *fxp_place(const fxp_model *model, uint32_t at)
{
    return model->arena + at;
}

/* One sample's places in the arena: of input `k` of a stage, and of what it writes. */
fxp_value *fxp_x_of(const fxp_model *model, const fxp_stage *stage, int32_t k, int32_t sample);
fxp_value *fxp_y_of(const fxp_model *model, int32_t stage, int32_t sample);

/* Weights and bias in use: the arena's where they are trained, else the exported ones. */
const fxp_param *fxp_weights_of(const fxp_model *model, int32_t stage);
const fxp_param *fxp_bias_of(const fxp_model *model, int32_t stage);

/* Put the raw integers of sample `sample` of `inputs` where sample number `place` of the input is read. */
void fxp_load_input(const fxp_model *model, fxp_inputs inputs, int32_t sample, int32_t place);

/* The rounding site of a stage's outputs. */
fxp_site fxp_forward_site(const fxp_model *model, int32_t stage, int32_t stochastic);

/* Forward of one sample through one stage; `keep`: pool winners are wanted. */
void fxp_forward_stage(fxp_model *model, int32_t stage, int32_t sample, int32_t keep, fxp_site *site);

#endif
