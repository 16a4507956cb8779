/* A state and the ring that belongs to it in one slot of two.
 *
 * The ring bears the state's number and is written first: a slot whose state is whole has the ring of that state, unless
 * its number tells otherwise. Where nothing is erased, the older state is spoiled before its ring becomes another one.
 */
#include "fxp_bytes.h"
#include "fxp_model.h"
#include "fxp_replay_state.h"
#include "fxp_slots.h"
#include "fxp_state.h"

#if FXP_TRAINING
#if FXP_REPLAY > 0

static fxp_status check_pair(const fxp_storage *storage, uint32_t base, uint32_t *number)
{
    uint32_t belongs = 0;
    fxp_status status = fxp_state_check(storage, base, number);
    if (status == FXP_OK) {
        status = fxp_ring_check(storage, base + FXP_RING_AT, &belongs);
    }
    return ((status == FXP_OK) && (belongs != *number)) ? FXP_DAMAGED : status;
}

/* Erased memory holds no state. */
static fxp_status spoil_state(const fxp_storage *storage, uint32_t base)
{
    static const uint8_t zeros[FXP_CHUNK] = {0};
    if (storage->erase != NULL) {
        return FXP_OK;
    }
    return (storage->write(storage->context, base, zeros, FXP_CHUNK) == FXP_OK) ? FXP_OK : FXP_STORAGE;
}

fxp_status fxp_adapt_keep(const fxp_model *model, const fxp_ring *ring, const fxp_storage *storage)
{
    fxp_status status = fxp_slots_usable(model, storage, FXP_ADAPT_BYTES);
    uint32_t base = 0, number = 0;
    if (status != FXP_OK) {
        return status;
    }
    if (ring == NULL) {
        return FXP_BAD_ARGUMENT;
    }
    if (ring->identity != FXP_IDENTITY) {
        return FXP_NOT_READY;
    }
    status = fxp_slots_next(storage, check_pair, &base, &number);
    if (status == FXP_OK) {
        status = spoil_state(storage, base);
    }
    if (status == FXP_OK) {
        status = fxp_ring_out(ring, storage, base + FXP_RING_AT, number);
    }
    if (status == FXP_OK) {
        status = fxp_state_out(model, storage, base, number);
    }
    if (status == FXP_OK) { /* what cannot be read back was not kept */
        status = (check_pair(storage, base, &number) == FXP_OK) ? FXP_OK : FXP_STORAGE;
    }
    return status;
}

fxp_status fxp_adapt_recall(fxp_model *model, fxp_ring *ring, const fxp_storage *storage)
{
    fxp_status status = fxp_slots_usable(model, storage, FXP_ADAPT_BYTES);
    uint32_t base = 0;
    if ((status == FXP_OK) && (ring == NULL)) {
        status = FXP_BAD_ARGUMENT;
    }
    if (status == FXP_OK) {
        status = fxp_slots_newest(storage, check_pair, &base);
    }
    if (status != FXP_OK) {
        return status;
    }
    status = fxp_ring_in(ring, storage, base + FXP_RING_AT);
    if (status == FXP_OK) {
        status = fxp_state_in(model, storage, base);
    }
    if (status != FXP_OK) { /* the bytes were good a moment ago: some of them are loaded */
        ring->identity = ~FXP_IDENTITY;
        model->identity = ~FXP_IDENTITY;
    }
    return status;
}

#endif
#endif
