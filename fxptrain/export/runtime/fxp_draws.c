/* Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11, section 3.3. */
#include "fxp_draws.h"

#include "fxp_config.h"

fxp_draws fxp_draws_at(uint32_t stream, uint32_t step)
{
    fxp_draws draws;
    draws.stream = stream;
    draws.step = step;
    draws.block = UINT32_MAX; /* index >> 1 never reaches it */
    draws.words[0] = 0;
    draws.words[1] = 0;
    return draws;
}

#if FXP_TRAINING

#define FXP_PARITY 0x1BD11BDAu

#define FXP_MIX(rotation)                                                      \
    x0 += x1;                                                                  \
    x1 = (x1 << (rotation)) | (x1 >> (32 - (rotation)));                       \
    x1 ^= x0

void fxp_draw_block(fxp_draws *draws, uint32_t block)
{
    const uint32_t k0 = FXP_SEED, k1 = draws->stream, k2 = FXP_PARITY ^ k0 ^ k1;
    uint32_t x0 = draws->step + k0, x1 = block + k1;
    FXP_MIX(13); FXP_MIX(15); FXP_MIX(26); FXP_MIX(6);
    x0 += k1; x1 += k2 + 1u;
    FXP_MIX(17); FXP_MIX(29); FXP_MIX(16); FXP_MIX(24);
    x0 += k2; x1 += k0 + 2u;
    FXP_MIX(13); FXP_MIX(15); FXP_MIX(26); FXP_MIX(6);
    x0 += k0; x1 += k1 + 3u;
    FXP_MIX(17); FXP_MIX(29); FXP_MIX(16); FXP_MIX(24);
    x0 += k1; x1 += k2 + 4u;
    FXP_MIX(13); FXP_MIX(15); FXP_MIX(26); FXP_MIX(6);
    draws->words[0] = x0 + k2;
    draws->words[1] = x1 + k0 + 5u;
    draws->block = block;
}

#endif
