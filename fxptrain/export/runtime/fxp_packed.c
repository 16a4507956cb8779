#include "fxp_packed.h"

#if FXP_PACKED

#if (FXP_PARAM_BITS > 25) || (FXP_TRAINING && (FXP_MOMENTUM_BITS > 25))
typedef uint64_t word; /* 7 bits of other values and the value */
#else
typedef uint32_t word;
#endif

/* The signed number of `bits` bits that starts at bit `at`; constants where this is inlined. No byte behind it is read. */
static inline int32_t field(FXP_ROM uint8_t *packed, uint32_t at, uint32_t bits)
{
    FXP_ROM uint8_t *from = packed + at / 8u;
    const uint32_t skip = at % 8u, need = skip + bits;
    const word sign = (word)1 << (bits - 1u);
    word value = from[0];
    if (need > 8u) {
        value |= (word)from[1] << 8;
    }
    if (need > 16u) {
        value |= (word)from[2] << 16;
    }
    if (need > 24u) {
        value |= (word)from[3] << 24;
    }
#if (FXP_PARAM_BITS > 25) || (FXP_TRAINING && (FXP_MOMENTUM_BITS > 25))
    if (need > 32u) {
        value |= (word)from[4] << 32;
    }
#endif
    value = (value >> skip) & (2u * sign - 1u);
    return (int32_t)((int64_t)(value ^ sign) - (int64_t)sign);
}

static FXP_ROM uint8_t *unpack_row(FXP_ROM uint8_t *packed, int32_t taps, fxp_param *to)
{
    FXP_ROM uint8_t *from = packed;
    int32_t left = taps;
    uint32_t i;
    for (; left >= 8; left -= 8) { /* eight weights fill whole bytes: all shifts are constants */
        to[0] = (fxp_param)field(from, 0u, FXP_PARAM_BITS);
        to[1] = (fxp_param)field(from, 1u * FXP_PARAM_BITS, FXP_PARAM_BITS);
        to[2] = (fxp_param)field(from, 2u * FXP_PARAM_BITS, FXP_PARAM_BITS);
        to[3] = (fxp_param)field(from, 3u * FXP_PARAM_BITS, FXP_PARAM_BITS);
        to[4] = (fxp_param)field(from, 4u * FXP_PARAM_BITS, FXP_PARAM_BITS);
        to[5] = (fxp_param)field(from, 5u * FXP_PARAM_BITS, FXP_PARAM_BITS);
        to[6] = (fxp_param)field(from, 6u * FXP_PARAM_BITS, FXP_PARAM_BITS);
        to[7] = (fxp_param)field(from, 7u * FXP_PARAM_BITS, FXP_PARAM_BITS);
        from += FXP_PARAM_BITS;
        to += 8;
    }
    for (i = 0; i < (uint32_t)left; i++) {
        to[i] = (fxp_param)field(from, i * FXP_PARAM_BITS, FXP_PARAM_BITS);
    }
    return from + (left * FXP_PARAM_BITS + 7) / 8;
}

void fxp_unpack_weights(FXP_ROM uint8_t *packed, int32_t first, int32_t channels, int32_t taps, fxp_param *to)
{
    FXP_ROM uint8_t *from = packed + first * ((taps * FXP_PARAM_BITS + 7) / 8);
    int32_t c;
    for (c = 0; c < channels; c++) {
        from = unpack_row(from, taps, to + c * taps);
    }
}

#if FXP_TRAINING

void fxp_unpack_momentum(FXP_ROM uint8_t *packed, int32_t channels, int32_t taps, fxp_momentum *to)
{
    const int32_t row = (taps * FXP_MOMENTUM_BITS + 7) / 8;
    int32_t c, k;
    for (c = 0; c < channels; c++) {
        for (k = 0; k < taps; k++) {
            to[c * taps + k] = (fxp_momentum)field(packed + c * row, (uint32_t)(k * FXP_MOMENTUM_BITS), FXP_MOMENTUM_BITS);
        }
    }
}

#endif

#endif
