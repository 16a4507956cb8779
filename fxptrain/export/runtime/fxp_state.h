/* A training state in a storage, from some byte on: written, checked, loaded. */
#ifndef FXP_STATE_H
#define FXP_STATE_H

#include "fxp.h"

#if FXP_TRAINING

/* Write a state that is the storage's `number`-th, from byte `base` on. */
fxp_status fxp_state_out(const fxp_model *model, const fxp_storage *storage, uint32_t base, uint32_t number);

/* Whether a whole state that this model can take begins at byte `base`, and its number. */
fxp_status fxp_state_check(const fxp_storage *storage, uint32_t base, uint32_t *number);

/* Load a state that was checked. If that fails nevertheless, the model is not ready. */
fxp_status fxp_state_in(fxp_model *model, const fxp_storage *storage, uint32_t base);

#endif

#endif
