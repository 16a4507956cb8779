#include "fxp_bytes.h"

#if FXP_TRAINING

void fxp_bytes_start(fxp_bytes *bytes, const fxp_storage *storage, uint32_t base)
{
    bytes->storage = storage;
    bytes->base = base;
    bytes->at = 0;
    bytes->end = FXP_STATE_BYTES;
    bytes->held = 0;
    bytes->crc = UINT32_MAX;
    bytes->status = FXP_OK;
}

static void count_in(fxp_bytes *bytes, uint8_t byte)
{
    static const uint32_t table[16] = {0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
                                       0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
                                       0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
    uint32_t crc = bytes->crc ^ byte;
    crc = (crc >> 4) ^ table[crc & 15u];
    bytes->crc = (crc >> 4) ^ table[crc & 15u];
}

void fxp_flush(fxp_bytes *bytes)
{
    const fxp_storage *storage = bytes->storage;
    if ((bytes->status == FXP_OK) && (bytes->held > 0u)) {
        if (storage->write(storage->context, bytes->base + bytes->at, bytes->chunk, bytes->held) != FXP_OK) {
            bytes->status = FXP_STORAGE;
        }
    }
    bytes->at += bytes->held;
    bytes->held = 0;
}

void fxp_put(fxp_bytes *bytes, uint64_t value, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++) {
        const uint8_t byte = (uint8_t)((value >> (8 * i)) & 255u);
        count_in(bytes, byte);
        bytes->chunk[bytes->held] = byte;
        bytes->held++;
        if (bytes->held == FXP_CHUNK) {
            fxp_flush(bytes);
        }
    }
}

void fxp_put_signed(fxp_bytes *bytes, int32_t value, size_t count)
{
    fxp_put(bytes, (uint64_t)(int64_t)value, (int32_t)count);
}

static uint8_t next(fxp_bytes *bytes)
{
    const fxp_storage *storage = bytes->storage;
    const uint32_t in_chunk = bytes->held % FXP_CHUNK;
    uint8_t byte = 0;
    if ((in_chunk == 0u) && (bytes->status == FXP_OK)) {
        const uint32_t left = bytes->end - bytes->held;
        const uint32_t count = (left < FXP_CHUNK) ? left : FXP_CHUNK;
        if (storage->read(storage->context, bytes->base + bytes->held, bytes->chunk, count) != FXP_OK) {
            bytes->status = FXP_STORAGE;
        }
    }
    if (bytes->status == FXP_OK) {
        byte = bytes->chunk[in_chunk];
    }
    bytes->held++;
    count_in(bytes, byte);
    return byte;
}

uint64_t fxp_get(fxp_bytes *bytes, int32_t count)
{
    uint64_t value = 0;
    int32_t i;
    for (i = 0; i < count; i++) {
        value |= (uint64_t)next(bytes) << (8 * i);
    }
    return value;
}

/* The sign is not left to a conversion. */
int32_t fxp_get_signed(fxp_bytes *bytes, size_t count)
{
    const int64_t value = (int64_t)fxp_get(bytes, (int32_t)count);
    const int32_t bits = (count >= 4u) ? 32 : ((count >= 2u) ? 16 : 8);
    const int64_t half = (int64_t)1 << (bits - 1);
    return (int32_t)((value < half) ? value : (value - 2 * half));
}

#endif
