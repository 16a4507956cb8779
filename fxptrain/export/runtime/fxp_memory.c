/* A buffer as a storage. */
#include <string.h>

#include "fxp.h"

#if FXP_TRAINING

typedef struct {
    uint8_t *to;
    const uint8_t *from;
} memory;

static fxp_status write_memory(void *context, uint32_t at, const uint8_t *bytes, uint32_t count)
{
    const memory *whole = (const memory *)context;
    memcpy(whole->to + at, bytes, (size_t)count);
    return FXP_OK;
}

static fxp_status read_memory(void *context, uint32_t at, uint8_t *bytes, uint32_t count)
{
    const memory *whole = (const memory *)context;
    memcpy(bytes, whole->from + at, (size_t)count);
    return FXP_OK;
}

static fxp_storage memory_storage(memory *whole)
{
    fxp_storage storage;
    storage.context = whole;
    storage.read = read_memory;
    storage.write = write_memory;
    storage.erase = NULL;
    storage.slot_bytes = 0;
    return storage;
}

fxp_status fxp_state_save(const fxp_model *model, uint8_t *bytes, uint32_t count)
{
    memory whole = {NULL, NULL};
    const fxp_storage storage = memory_storage(&whole);
    whole.to = bytes;
    return ((bytes == NULL) || (count < FXP_STATE_BYTES)) ? FXP_BAD_ARGUMENT : fxp_state_write(model, &storage);
}

fxp_status fxp_state_load(fxp_model *model, const uint8_t *bytes, uint32_t count)
{
    memory whole = {NULL, NULL};
    const fxp_storage storage = memory_storage(&whole);
    whole.from = bytes;
    return ((bytes == NULL) || (count < FXP_STATE_BYTES)) ? FXP_BAD_ARGUMENT : fxp_state_read(model, &storage);
}

#endif
