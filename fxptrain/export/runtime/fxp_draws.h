/* Random draws by Threefry-2x32 with 20 rounds: a pure function of (seed, stream, step, index). Twin of fixed/draws.py. */
#ifndef FXP_DRAWS_H
#define FXP_DRAWS_H

#include <stdint.h>

/* Kinds of rounding sites, and of other draws; a stream is 16 * layer + kind. */
enum {
    FXP_SITE_FORWARD = 0,
    FXP_SITE_INPUT_ERROR = 1,
    FXP_SITE_WEIGHT_MOMENTUM = 2,
    FXP_SITE_WEIGHT = 3,
    FXP_SITE_BIAS_MOMENTUM = 4,
    FXP_SITE_BIAS = 5,
    FXP_SITE_WEIGHT_REGRID = 8,
    FXP_SITE_WEIGHT_MOMENTUM_REGRID = 9,
    FXP_SITE_BIAS_REGRID = 10,
    FXP_SITE_BIAS_MOMENTUM_REGRID = 11,
    FXP_SITE_DROPOUT = 13,
    FXP_SITE_RING = 14,
    FXP_SITE_REPLAY = 15
};

static inline uint32_t fxp_stream(int32_t layer, int32_t kind)
{
    return (uint32_t)(16 * layer + kind);
}

/* Draws of one stream at one step. Two neighbours share a block of the generator, so the last block is kept. */
typedef struct {
    uint32_t stream;
    uint32_t step;
    uint32_t block; /* whose words these are; all ones: none yet */
    uint32_t words[2];
} fxp_draws;

fxp_draws fxp_draws_at(uint32_t stream, uint32_t step);

/* Make the words of a block: counter (step, block), key (seed, stream). */
void fxp_draw_block(fxp_draws *draws, uint32_t block);

/* The draw of element `index`. */
static inline uint32_t fxp_draw(fxp_draws *draws, uint32_t index)
{
    const uint32_t block = index >> 1;
    if (block != draws->block) {
        fxp_draw_block(draws, block);
    }
    return draws->words[index & 1u];
}

/* The draws of neighbouring elements, eight at a time, with the vectors of Cortex-M55 (fxp_vector_draws.c): made in a room for
 * so many, where the first one is at the place that is returned. */
#define FXP_DRAWS_ROOM(count) (((count) + 8) / 8 * 8)

const uint32_t *fxp_draws_of(const fxp_draws *draws, uint32_t index, int32_t count, uint32_t *room);

/* The same of elements `index` and the next one, and of three more such pairs, `apart` from each other: both numbers are even. */
void fxp_draw_pairs(const fxp_draws *draws, uint32_t index, uint32_t apart, uint32_t pairs[4][2]);

#endif
