#include "fxp_replay.h"

#include <string.h>

#include "fxp_draws.h"
#include "fxp_model.h"
#include "fxp_step.h"

#if FXP_TRAINING
#if FXP_REPLAY > 0

enum { FXP_NO_PLACE = -1 };

/* The plan counts what a compiler makes of it; where numbers may lie anywhere (AVR), that is less. */
typedef uint8_t fxp_ring_has_its_bytes[(sizeof(fxp_ring) <= FXP_RING_BYTES) ? 1 : -1];

static int32_t ready(const fxp_ring *ring)
{
    return ring->identity == FXP_IDENTITY;
}

/* A number 0 to count - 1 from a draw. */
static uint32_t below(uint32_t word, uint32_t count)
{
    return (uint32_t)(((uint64_t)word * count) >> 32);
}

static uint64_t offered(const fxp_ring *ring)
{
    uint64_t sum = 0;
    int32_t group;
    for (group = 0; group < FXP_GROUPS; group++) {
        sum += ring->offered[group];
    }
    return sum;
}

/* How many places are taken: the first ones. */
static int32_t taken(const fxp_ring *ring)
{
    const uint64_t sum = offered(ring);
    return (sum < FXP_REPLAY) ? (int32_t)sum : FXP_REPLAY;
}

/* How many of the places taken each group has. */
static void count_places(const fxp_ring *ring, int32_t held, int32_t kept[FXP_GROUPS])
{
    int32_t i;
    for (i = 0; i < FXP_GROUPS; i++) {
        kept[i] = 0;
    }
    for (i = 0; i < held; i++) {
        kept[ring->groups[i]]++;
    }
}

/* The place of a group's sample by its number, in the order of places. */
static int32_t place_of(const fxp_ring *ring, int32_t held, int32_t group, int32_t number)
{
    int32_t place;
    for (place = 0; place < held; place++) {
        if (ring->groups[place] == group) {
            if (number == 0) {
                return place;
            }
            number--;
        }
    }
    return FXP_NO_PLACE;
}

/* The first group with the most places. */
static int32_t largest(const int32_t kept[FXP_GROUPS])
{
    int32_t group, best = 0;
    for (group = 1; group < FXP_GROUPS; group++) {
        best = (kept[group] > kept[best]) ? group : best;
    }
    return best;
}

/* Count a sample of a group and give it its place, or none. */
static int32_t place_for(fxp_ring *ring, int32_t group)
{
    const uint64_t before = offered(ring);
    int32_t place;
    ring->offered[group] += (ring->offered[group] < UINT32_MAX) ? 1u : 0u;
    if (before < FXP_REPLAY) {
        place = (int32_t)before;
    } else {
        fxp_draws draws = fxp_draws_at(fxp_stream(FXP_REPLAY_LAYER, FXP_SITE_RING), (uint32_t)(before & UINT32_MAX));
        const uint32_t word = fxp_draw(&draws, 0);
        int32_t kept[FXP_GROUPS], other;
        count_places(ring, FXP_REPLAY, kept);
        other = largest(kept);
        if (kept[group] + 1 < kept[other]) {
            place = place_of(ring, FXP_REPLAY, other, (int32_t)below(word, (uint32_t)kept[other]));
        } else {
            const uint32_t number = below(word, ring->offered[group]);
            place = FXP_NO_PLACE;
            if (number < (uint32_t)kept[group]) {
                place = place_of(ring, FXP_REPLAY, group, (int32_t)number);
            }
        }
    }
    if (place != FXP_NO_PLACE) {
        ring->groups[place] = (uint16_t)group;
    }
    return place;
}

/* The place that replay `number` of this step takes, of a ring whose groups have so many places. */
static int32_t drawn(const fxp_model *model, const fxp_ring *ring, const int32_t kept[FXP_GROUPS], int32_t number)
{
    fxp_draws draws = fxp_draws_at(fxp_stream(FXP_REPLAY_LAYER, FXP_SITE_REPLAY), model->step);
    int32_t group, there = 0, chosen = 0;
    fxp_draw_block(&draws, (uint32_t)number);
    for (group = 0; group < FXP_GROUPS; group++) {
        there += (kept[group] > 0) ? 1 : 0;
    }
    there = (int32_t)below(draws.words[0], (uint32_t)there);
    for (group = 0; group < FXP_GROUPS; group++) {
        if (kept[group] > 0) {
            if (there == 0) {
                chosen = group;
            }
            there--;
        }
    }
    return place_of(ring, taken(ring), chosen, (int32_t)below(draws.words[1], (uint32_t)kept[chosen]));
}

fxp_status fxp_adapt_begin(const fxp_model *model, fxp_ring *ring)
{
    int32_t i;
    if (!fxp_ready(model)) {
        return FXP_NOT_READY;
    }
    if (ring == NULL) {
        return FXP_BAD_ARGUMENT;
    }
    for (i = 0; i < FXP_GROUPS; i++) {
        ring->offered[i] = fxp_ring_offered[i];
    }
    for (i = 0; i < FXP_REPLAY; i++) {
        ring->groups[i] = fxp_ring_groups[i];
    }
    for (i = 0; i < FXP_REPLAY * FXP_LATENT_VALUES; i++) {
        ring->latents[i] = fxp_ring_latents[i];
    }
    ring->identity = FXP_IDENTITY;
    return FXP_OK;
}

static fxp_status add(fxp_model *model, fxp_ring *ring, fxp_inputs inputs, fxp_goal goal)
{
    const fxp_status status = fxp_step_takes(model, inputs, goal);
    const size_t size = FXP_LATENT_VALUES * sizeof(fxp_value);
    int32_t i;
    if ((ring != NULL) && !ready(ring)) {
        return FXP_NOT_READY;
    }
    if (status != FXP_OK) {
        return status;
    }
    fxp_load_input(model, inputs, 0, model->pending);
    for (i = 0; i <= FXP_LATENT; i++) {
        fxp_site site = fxp_forward_site(model, i, 0);
        site.uncounted = 1;
        fxp_forward_stage(model, i, model->pending, 0, &site);
    }
    if (ring != NULL) {
        const int32_t place = place_for(ring, FXP_OUTPUTS + (int32_t)goal);
        if (place != FXP_NO_PLACE) {
            memcpy(&ring->latents[place * FXP_LATENT_VALUES], fxp_y_of(model, FXP_LATENT, model->pending), size);
        }
    }
    fxp_step_add(model, FXP_LATENT + 1, goal);
    return FXP_OK;
}

fxp_status fxp_adapt_add(fxp_model *model, fxp_ring *ring, const fxp_input *inputs, fxp_goal goal)
{
    return add(model, ring, fxp_given(inputs), goal);
}

fxp_status fxp_adapt_add_raw(fxp_model *model, fxp_ring *ring, const fxp_value *inputs, fxp_goal goal)
{
    return add(model, ring, fxp_raw(inputs), goal);
}

fxp_result fxp_adapt_step(fxp_model *model, const fxp_ring *ring, int32_t replays, fxp_multiplier rate)
{
    const size_t size = FXP_LATENT_VALUES * sizeof(fxp_value);
    fxp_result refused = {0, 0, 0, 0, 0, FXP_OK};
    int32_t kept[FXP_GROUPS], held, i;
    if (!fxp_ready(model)) {
        refused.status = FXP_NOT_READY;
        return refused;
    }
    if ((ring == NULL) || (replays < 0)) {
        refused.status = FXP_BAD_ARGUMENT;
        return refused;
    }
    if (!ready(ring)) {
        refused.status = FXP_NOT_READY;
        return refused;
    }
    if (replays > FXP_BATCH - model->pending) {
        refused.status = FXP_FULL;
        return refused;
    }
    if (!fxp_rate_is_good(rate)) {
        refused.status = FXP_BAD_RATE;
        return refused;
    }
    held = taken(ring);
    count_places(ring, held, kept);
    for (i = 0; (i < replays) && (held > 0); i++) {
        const int32_t place = drawn(model, ring, kept, i);
        memcpy(fxp_y_of(model, FXP_LATENT, model->pending), &ring->latents[place * FXP_LATENT_VALUES], size);
        fxp_step_add(model, FXP_LATENT + 1, (fxp_goal)(ring->groups[place] % FXP_OUTPUTS));
    }
    return fxp_train_finish(model, rate);
}

#endif
#endif
