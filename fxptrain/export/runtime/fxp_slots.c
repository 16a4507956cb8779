/* Two slots for a state: whatever happens while one is written, the other one holds a whole state. */
#include "fxp_slots.h"

#include "fxp_model.h"
#include "fxp_state.h"

#if FXP_TRAINING

enum { FXP_NO_SLOT = -1 };

/* What two slots hold. */
typedef struct {
    fxp_status status[2];
    uint32_t number[2];
    int32_t newest; /* a slot, or FXP_NO_SLOT */
} slots;

static slots look(const fxp_storage *storage, fxp_slot_check check)
{
    slots found;
    int32_t i;
    found.newest = FXP_NO_SLOT;
    for (i = 0; i < 2; i++) {
        found.status[i] = check(storage, (uint32_t)i * storage->slot_bytes, &found.number[i]);
        if (found.status[i] == FXP_OK) { /* numbers go round: the newer one is less than half a round ahead */
            if ((found.newest == FXP_NO_SLOT) || (found.number[i] - found.number[0] - 1u < UINT32_MAX / 2u)) {
                found.newest = i;
            }
        }
    }
    return found;
}

fxp_status fxp_slots_usable(const fxp_model *model, const fxp_storage *storage, uint32_t bytes)
{
    if (!fxp_ready(model)) {
        return FXP_NOT_READY;
    }
    if ((storage == NULL) || (storage->read == NULL) || (storage->slot_bytes < bytes)
        || (storage->slot_bytes > UINT32_MAX / 2u)) {
        return FXP_BAD_ARGUMENT;
    }
    return FXP_OK;
}

fxp_status fxp_slots_newest(const fxp_storage *storage, fxp_slot_check check, uint32_t *base)
{
    const slots found = look(storage, check);
    if (found.newest != FXP_NO_SLOT) {
        *base = (uint32_t)found.newest * storage->slot_bytes;
        return FXP_OK;
    }
    if ((found.status[0] == FXP_STORAGE) || (found.status[1] == FXP_STORAGE)) {
        return FXP_STORAGE;
    }
    if ((found.status[0] == FXP_FOREIGN) || (found.status[1] == FXP_FOREIGN)) {
        return FXP_FOREIGN;
    }
    return FXP_NOTHING;
}

fxp_status fxp_slots_next(const fxp_storage *storage, fxp_slot_check check, uint32_t *base, uint32_t *number)
{
    slots found;
    if (storage->write == NULL) {
        return FXP_BAD_ARGUMENT;
    }
    found = look(storage, check);
    *base = (found.newest == 0) ? storage->slot_bytes : 0u;
    *number = (found.newest != FXP_NO_SLOT) ? (found.number[found.newest] + 1u) : 1u;
    if ((storage->erase != NULL) && (storage->erase(storage->context, *base, storage->slot_bytes) != FXP_OK)) {
        return FXP_STORAGE;
    }
    return FXP_OK;
}

fxp_status fxp_state_keep(const fxp_model *model, const fxp_storage *storage)
{
    fxp_status status = fxp_slots_usable(model, storage, FXP_STATE_BYTES);
    uint32_t base = 0, number = 0;
    if (status == FXP_OK) {
        status = fxp_slots_next(storage, fxp_state_check, &base, &number);
    }
    if (status == FXP_OK) {
        status = fxp_state_out(model, storage, base, number);
    }
    if (status == FXP_OK) { /* what cannot be read back was not kept */
        status = (fxp_state_check(storage, base, &number) == FXP_OK) ? FXP_OK : FXP_STORAGE;
    }
    return status;
}

fxp_status fxp_state_recall(fxp_model *model, const fxp_storage *storage)
{
    fxp_status status = fxp_slots_usable(model, storage, FXP_STATE_BYTES);
    uint32_t base = 0;
    if (status == FXP_OK) {
        status = fxp_slots_newest(storage, fxp_state_check, &base);
    }
    return (status == FXP_OK) ? fxp_state_in(model, storage, base) : status;
}

#endif
