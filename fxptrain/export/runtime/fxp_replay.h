/* Adapting on the board: the last layers learn new samples, mixed with known ones that a ring replays.
 *
 *     static fxp_ring ring;
 *     fxp_adapt_begin(&model, &ring);
 *     fxp_adapt_add(&model, &ring, inputs, label);
 *     fxp_adapt_step(&model, &ring, FXP_BATCH - 1, fxp_rate_default());
 *
 * The ring holds FXP_REPLAY latents: what the layers that do not learn gave for a sample, FXP_LATENT_VALUES raw integers.
 * It begins with those that `fxptrain adapt` put into the run. Twin of nn/replay.py, which has the rule and its sources.
 */
#ifndef FXP_REPLAY_H
#define FXP_REPLAY_H

#include "fxp.h"

#if FXP_TRAINING
#if FXP_REPLAY > 0

#ifdef __cplusplus
extern "C" {
#endif

#define FXP_GROUPS (2 * FXP_OUTPUTS) /* the classes of known samples, and those of new ones */

/* A ring in use, FXP_RING_BYTES bytes of the caller's. Its fields are the runtime's own. */
typedef struct {
    uint32_t identity; /* FXP_IDENTITY after it began or was read */
    uint32_t offered[FXP_GROUPS]; /* samples of each group so far */
    uint16_t groups[FXP_REPLAY];
    fxp_value latents[FXP_REPLAY * FXP_LATENT_VALUES];
} fxp_ring;

/* Generated in fxp_ring.c: the ring as it was exported. */
extern FXP_ROM uint32_t fxp_ring_offered[FXP_GROUPS];
extern FXP_ROM uint16_t fxp_ring_groups[FXP_REPLAY];
extern FXP_ROM fxp_value fxp_ring_latents[FXP_REPLAY * FXP_LATENT_VALUES];

/* Bring the ring into the exported state. */
fxp_status fxp_adapt_begin(const fxp_model *model, fxp_ring *ring);

/* Add a sample to the batch: the layers that do not learn run once, rounded as fxp_predict does. Where `ring` is not NULL,
 * the sample is offered to it as a new one: give each sample once, and NULL when it comes again. */
fxp_status fxp_adapt_add(fxp_model *model, fxp_ring *ring, const fxp_input *inputs, fxp_goal goal);
fxp_status fxp_adapt_add_raw(fxp_model *model, fxp_ring *ring, const fxp_value *inputs, fxp_goal goal);

/* Add `replays` of the ring's samples behind those that were added, and finish the step; together 1 to FXP_BATCH. */
fxp_result fxp_adapt_step(fxp_model *model, const fxp_ring *ring, int32_t replays, fxp_multiplier rate);

/* State and ring together in two slots of FXP_ADAPT_BYTES bytes or more: both are kept in the slot that does not hold the
 * newest whole pair, and the newest whole pair is brought back. Whenever power fails, both from before or both from after
 * come back, never one of each. Keep them between steps: of samples that were added since, the ring knows and the state
 * does not. Slots hold pairs or states (fxp_state_keep), not both in turn. Where recalling returns anything but FXP_OK, model
 * and ring are as they were; where a storage fails whose bytes were good a moment before, neither is ready any more. */
#define FXP_ADAPT_BYTES (FXP_RING_AT + FXP_RING_SAVED_BYTES)
#define FXP_RING_AT ((FXP_STATE_BYTES + 63u) / 64u * 64u) /* the ring's place in a slot, behind the state */
fxp_status fxp_adapt_keep(const fxp_model *model, const fxp_ring *ring, const fxp_storage *storage);
fxp_status fxp_adapt_recall(fxp_model *model, fxp_ring *ring, const fxp_storage *storage);

/* The ring alone as FXP_RING_SAVED_BYTES bytes of a storage, from byte 0 on, the same on every machine; fxp_state_write does
 * the same for the state. Where reading returns anything but FXP_OK, the ring is as it was; where a storage fails whose
 * bytes were good a moment before, it is no ring any more (FXP_NOT_READY). */
fxp_status fxp_adapt_write(const fxp_ring *ring, const fxp_storage *storage);
fxp_status fxp_adapt_read(fxp_ring *ring, const fxp_storage *storage);

#ifdef __cplusplus
}
#endif

#endif
#endif

#endif
