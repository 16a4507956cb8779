/* Numbers as little-endian bytes to and from a storage, with a checksum. */
#ifndef FXP_BYTES_H
#define FXP_BYTES_H

#include "fxp.h"

#if FXP_TRAINING

#define FXP_CHUNK 64 /* bytes that are written at once */

/* Bytes on their way to or from a storage, and the CRC-32 of those that passed. */
typedef struct {
    const fxp_storage *storage;
    uint32_t base; /* where the state begins */
    uint32_t at;   /* bytes before this chunk */
    uint32_t end;  /* bytes that are read at most */
    uint32_t held; /* bytes of the chunk that passed */
    uint32_t crc;
    fxp_status status;
    uint8_t chunk[FXP_CHUNK];
} fxp_bytes;

void fxp_bytes_start(fxp_bytes *bytes, const fxp_storage *storage, uint32_t base);

/* The lowest `count` bytes of a number. */
void fxp_put(fxp_bytes *bytes, uint64_t value, int32_t count);
void fxp_put_signed(fxp_bytes *bytes, int32_t value, size_t count);

/* Write what is left of the last chunk. */
void fxp_flush(fxp_bytes *bytes);

/* The next number of `count` bytes; where the storage fails, zeros from there on. No more than `end` bytes are read,
 * a state's if nothing else was said. */
uint64_t fxp_get(fxp_bytes *bytes, int32_t count);
int32_t fxp_get_signed(fxp_bytes *bytes, size_t count);

#endif

#endif
