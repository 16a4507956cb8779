/* Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11, section 3.3. */
#include "fxp_draws.h"

#include "fxp_config.h"

#define FXP_PARITY 0x1BD11BDAu

#define FXP_MIX(rotation)                                                      \
    x0 += x1;                                                                  \
    x1 = (x1 << (rotation)) | (x1 >> (32 - (rotation)));                       \
    x1 ^= x0

void fxp_threefry(const uint32_t key[2], const uint32_t counter[2], uint32_t words[2])
{
    const uint32_t k0 = key[0], k1 = key[1], k2 = FXP_PARITY ^ key[0] ^ key[1];
    uint32_t x0 = counter[0] + k0, x1 = counter[1] + k1;
    FXP_MIX(13); FXP_MIX(15); FXP_MIX(26); FXP_MIX(6);
    x0 += k1; x1 += k2 + 1u;
    FXP_MIX(17); FXP_MIX(29); FXP_MIX(16); FXP_MIX(24);
    x0 += k2; x1 += k0 + 2u;
    FXP_MIX(13); FXP_MIX(15); FXP_MIX(26); FXP_MIX(6);
    x0 += k0; x1 += k1 + 3u;
    FXP_MIX(17); FXP_MIX(29); FXP_MIX(16); FXP_MIX(24);
    x0 += k1; x1 += k2 + 4u;
    FXP_MIX(13); FXP_MIX(15); FXP_MIX(26); FXP_MIX(6);
    words[0] = x0 + k2;
    words[1] = x1 + k0 + 5u;
}

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

uint32_t fxp_draw(fxp_draws *draws, uint32_t index)
{
    const uint32_t block = index >> 1;
    if (block != draws->block) {
        const uint32_t key[2] = {FXP_SEED, draws->stream};
        const uint32_t counter[2] = {draws->step, block};
        fxp_threefry(key, counter, draws->words);
        draws->block = block;
    }
    return draws->words[index & 1u];
}
