/* A ring in a storage, from some byte on: written, checked, loaded. */
#ifndef FXP_REPLAY_STATE_H
#define FXP_REPLAY_STATE_H

#include "fxp_replay.h"

#if FXP_TRAINING
#if FXP_REPLAY > 0

/* Write a ring that is ready and belongs to the storage's `number`-th state, from byte `base` on. */
fxp_status fxp_ring_out(const fxp_ring *ring, const fxp_storage *storage, uint32_t base, uint32_t number);

/* Whether a whole ring that this model can take begins at byte `base`, and its state's number. */
fxp_status fxp_ring_check(const fxp_storage *storage, uint32_t base, uint32_t *number);

/* Load a ring that was checked. If that fails nevertheless, the ring is not ready. */
fxp_status fxp_ring_in(fxp_ring *ring, const fxp_storage *storage, uint32_t base);

#endif
#endif

#endif
