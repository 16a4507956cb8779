/* Two slots for a state: whatever happens while one is written, the other one holds a whole state. */
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

static slots look(const fxp_storage *storage)
{
    slots found;
    int32_t i;
    found.newest = FXP_NO_SLOT;
    for (i = 0; i < 2; i++) {
        found.status[i] = fxp_state_check(storage, (uint32_t)i * storage->slot_bytes, &found.number[i]);
        if (found.status[i] == FXP_OK) { /* numbers go round: the newer one is less than half a round ahead */
            if ((found.newest == FXP_NO_SLOT) || (found.number[i] - found.number[0] - 1u < UINT32_MAX / 2u)) {
                found.newest = i;
            }
        }
    }
    return found;
}

static fxp_status usable(const fxp_model *model, const fxp_storage *storage)
{
    if (!fxp_ready(model)) {
        return FXP_NOT_READY;
    }
    if ((storage == NULL) || (storage->read == NULL) || (storage->slot_bytes < FXP_STATE_BYTES)
        || (storage->slot_bytes > UINT32_MAX / 2u)) {
        return FXP_BAD_ARGUMENT;
    }
    return FXP_OK;
}

fxp_status fxp_state_keep(const fxp_model *model, const fxp_storage *storage)
{
    fxp_status status = usable(model, storage);
    slots found;
    uint32_t base, number = 1;
    if (status != FXP_OK) {
        return status;
    }
    if (storage->write == NULL) {
        return FXP_BAD_ARGUMENT;
    }
    found = look(storage);
    base = (found.newest == 0) ? storage->slot_bytes : 0u;
    if (found.newest != FXP_NO_SLOT) {
        number = found.number[found.newest] + 1u;
    }
    if ((storage->erase != NULL) && (storage->erase(storage->context, base, storage->slot_bytes) != FXP_OK)) {
        return FXP_STORAGE;
    }
    status = fxp_state_out(model, storage, base, number);
    if (status == FXP_OK) { /* what cannot be read back was not kept */
        status = (fxp_state_check(storage, base, &number) == FXP_OK) ? FXP_OK : FXP_STORAGE;
    }
    return status;
}

fxp_status fxp_state_recall(fxp_model *model, const fxp_storage *storage)
{
    fxp_status status = usable(model, storage);
    slots found;
    if (status != FXP_OK) {
        return status;
    }
    found = look(storage);
    if (found.newest != FXP_NO_SLOT) {
        return fxp_state_in(model, storage, (uint32_t)found.newest * storage->slot_bytes);
    }
    if ((found.status[0] == FXP_STORAGE) || (found.status[1] == FXP_STORAGE)) {
        return FXP_STORAGE;
    }
    if ((found.status[0] == FXP_FOREIGN) || (found.status[1] == FXP_FOREIGN)) {
        return FXP_FOREIGN;
    }
    return FXP_NOTHING;
}

#endif
