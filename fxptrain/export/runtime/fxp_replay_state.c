/* The ring of fxp_replay.h as one checked blob, which is the same on every machine:
 *
 *     "FXPR", version, FXP_RING_SAVED_BYTES, the model's fingerprint, number of the state it belongs to (0: saved by itself)
 *     of every group: samples offered                                 4 bytes
 *     of every place: group; then the latents                         2 bytes; as the model's values
 *     CRC-32 of all that                                              4 bytes
 */
#include "fxp_replay_state.h"

#include "fxp_bytes.h"
#include "fxp_model.h"

#if FXP_TRAINING
#if FXP_REPLAY > 0

#define FXP_RING_MAGIC 0x52505846u /* "FXPR" */
#define FXP_RING_VERSION 2u

fxp_status fxp_ring_out(const fxp_ring *ring, const fxp_storage *storage, uint32_t base, uint32_t number)
{
    fxp_bytes bytes;
    int32_t i;
    fxp_bytes_start(&bytes, storage, base);
    fxp_put(&bytes, FXP_RING_MAGIC, 4);
    fxp_put(&bytes, FXP_RING_VERSION, 4);
    fxp_put(&bytes, FXP_RING_SAVED_BYTES, 4);
    fxp_put(&bytes, FXP_FINGERPRINT, 4);
    fxp_put(&bytes, number, 4);
    for (i = 0; i < FXP_GROUPS; i++) {
        fxp_put(&bytes, ring->offered[i], 4);
    }
    for (i = 0; i < FXP_REPLAY; i++) {
        fxp_put(&bytes, ring->groups[i], 2);
    }
    for (i = 0; i < FXP_REPLAY * FXP_LATENT_VALUES; i++) {
        fxp_put_signed(&bytes, ring->latents[i], sizeof(fxp_value));
    }
    fxp_put(&bytes, ~bytes.crc, 4);
    fxp_flush(&bytes);
    return bytes.status;
}

/* All of a saved ring; without one it is only looked at. */
static fxp_status take(const fxp_storage *storage, uint32_t base, uint32_t *number, fxp_ring *ring)
{
    fxp_bytes bytes;
    uint32_t word;
    int32_t i, same, good = 1;
    fxp_bytes_start(&bytes, storage, base);
    bytes.end = FXP_RING_SAVED_BYTES;
    word = (uint32_t)fxp_get(&bytes, 4);
    same = fxp_get(&bytes, 4) == FXP_RING_VERSION;
    same &= fxp_get(&bytes, 4) == FXP_RING_SAVED_BYTES;
    same &= fxp_get(&bytes, 4) == FXP_FINGERPRINT;
    *number = (uint32_t)fxp_get(&bytes, 4);
    if ((bytes.status == FXP_OK) && ((word != FXP_RING_MAGIC) || !same)) {
        return (word != FXP_RING_MAGIC) ? FXP_DAMAGED : FXP_FOREIGN;
    }
    for (i = 0; i < FXP_GROUPS; i++) {
        const uint32_t count = (uint32_t)fxp_get(&bytes, 4);
        if (ring != NULL) {
            ring->offered[i] = count;
        }
    }
    for (i = 0; i < FXP_REPLAY; i++) {
        const uint16_t group = (uint16_t)fxp_get(&bytes, 2);
        good &= group < FXP_GROUPS;
        if (ring != NULL) {
            ring->groups[i] = group;
        }
    }
    for (i = 0; i < FXP_REPLAY * FXP_LATENT_VALUES; i++) {
        const int32_t value = fxp_get_signed(&bytes, sizeof(fxp_value));
        good &= (value >= FXP_MIN_RAW(FXP_VALUE_BITS)) && (value <= FXP_MAX_RAW(FXP_VALUE_BITS));
        if (ring != NULL) {
            ring->latents[i] = (fxp_value)value;
        }
    }
    word = ~bytes.crc;
    good &= fxp_get(&bytes, 4) == word;
    if (bytes.status != FXP_OK) {
        return bytes.status;
    }
    return good ? FXP_OK : FXP_DAMAGED;
}

fxp_status fxp_ring_check(const fxp_storage *storage, uint32_t base, uint32_t *number)
{
    return take(storage, base, number, NULL);
}

fxp_status fxp_ring_in(fxp_ring *ring, const fxp_storage *storage, uint32_t base)
{
    uint32_t number;
    const fxp_status status = take(storage, base, &number, ring);
    /* the bytes were good a moment ago; where they are not now, some of them are loaded */
    ring->identity = (status == FXP_OK) ? FXP_IDENTITY : ~FXP_IDENTITY;
    return status;
}

fxp_status fxp_adapt_write(const fxp_ring *ring, const fxp_storage *storage)
{
    if ((ring == NULL) || (storage == NULL) || (storage->write == NULL)) {
        return FXP_BAD_ARGUMENT;
    }
    return (ring->identity == FXP_IDENTITY) ? fxp_ring_out(ring, storage, 0, 0) : FXP_NOT_READY;
}

fxp_status fxp_adapt_read(fxp_ring *ring, const fxp_storage *storage)
{
    fxp_status status;
    uint32_t number;
    if ((ring == NULL) || (storage == NULL) || (storage->read == NULL)) {
        return FXP_BAD_ARGUMENT;
    }
    status = fxp_ring_check(storage, 0, &number);
    return (status == FXP_OK) ? fxp_ring_in(ring, storage, 0) : status;
}

#endif
#endif
