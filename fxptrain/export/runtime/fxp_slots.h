/* Two slots of a storage: what is written into one of them leaves the other one whole. */
#ifndef FXP_SLOTS_H
#define FXP_SLOTS_H

#include "fxp.h"

#if FXP_TRAINING

/* Whether something whole that this model can take begins at byte `base`, and its number. */
typedef fxp_status (*fxp_slot_check)(const fxp_storage *storage, uint32_t base, uint32_t *number);

/* Whether a model can be kept in two slots that need so many bytes. */
fxp_status fxp_slots_usable(const fxp_model *model, const fxp_storage *storage, uint32_t bytes);

/* Where the newest whole one begins; what is wrong with the slots where there is none. */
fxp_status fxp_slots_newest(const fxp_storage *storage, fxp_slot_check check, uint32_t *base);

/* Erase the slot that does not hold the newest whole one: where it begins, and the number of what is written there. */
fxp_status fxp_slots_next(const fxp_storage *storage, fxp_slot_check check, uint32_t *base, uint32_t *number);

#endif

#endif
