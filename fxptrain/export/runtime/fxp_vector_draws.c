/* Draws with the vectors of Cortex-M55: four blocks at a time, of two neighbours each. Twin of fxp_draws.c. */
#include "fxp_draws.h"
#include "fxp_types.h"

#if FXP_TRAINING && FXP_MVE

#include <arm_mve.h>

#define FXP_PARITY 0x1BD11BDAu

#define FXP_MIX(rotation)                                                      \
    x0 = vaddq_u32(x0, x1);                                                    \
    x1 = veorq_u32(vsriq_n_u32(vshlq_n_u32(x1, rotation), x1, 32 - (rotation)), x0)

#define FXP_KEYS(first, second)                                                \
    x0 = vaddq_n_u32(x0, first);                                               \
    x1 = vaddq_n_u32(x1, second)

/* Both words of four blocks that are `apart` from each other. */
static inline void draw_blocks(const fxp_draws *draws, uint32_t block, uint32_t apart, uint32_t *out)
{
    const uint32_t k0 = FXP_SEED, k1 = draws->stream, k2 = FXP_PARITY ^ k0 ^ k1;
    uint32x4_t x0 = vdupq_n_u32(draws->step + k0), x1 = vaddq_n_u32(vmulq_n_u32(vidupq_n_u32(0, 1), apart), block + k1);
    uint32x4x2_t words;
    FXP_MIX(13); FXP_MIX(15); FXP_MIX(26); FXP_MIX(6);
    FXP_KEYS(k1, k2 + 1u);
    FXP_MIX(17); FXP_MIX(29); FXP_MIX(16); FXP_MIX(24);
    FXP_KEYS(k2, k0 + 2u);
    FXP_MIX(13); FXP_MIX(15); FXP_MIX(26); FXP_MIX(6);
    FXP_KEYS(k0, k1 + 3u);
    FXP_MIX(17); FXP_MIX(29); FXP_MIX(16); FXP_MIX(24);
    FXP_KEYS(k1, k2 + 4u);
    FXP_MIX(13); FXP_MIX(15); FXP_MIX(26); FXP_MIX(6);
    words.val[0] = vaddq_n_u32(x0, k2);
    words.val[1] = vaddq_n_u32(x1, k0 + 5u);
    vst2q_u32(out, words);
}

const uint32_t *fxp_draws_of(const fxp_draws *draws, uint32_t index, int32_t count, uint32_t *room)
{
    const uint32_t before = index & 1u;
    uint32_t block = index >> 1, *out = room;
    int32_t left;
    for (left = count + (int32_t)before; left > 0; left -= 8) {
        draw_blocks(draws, block, 1, out);
        out += 8;
        block += 4;
    }
    return room + before;
}

void fxp_draw_pairs(const fxp_draws *draws, uint32_t index, uint32_t apart, uint32_t pairs[4][2])
{
    draw_blocks(draws, index >> 1, apart >> 1, pairs[0]);
}

#endif
