/* What a caller of a ring can get wrong is refused with its code and changes nothing; a damaged ring is not loaded. The
 * exit code is the line of the first check that fails. */
#include <string.h>

#include "fxp_replay.h"

#define CHECK(condition)                                                       \
    if (!(condition)) {                                                        \
        return __LINE__ % 256;                                                 \
    }

static fxp_model model, never;
static uint64_t arena[FXP_ARENA_WORDS];
static fxp_ring ring, before;
static fxp_input inputs[FXP_INPUTS];
static int32_t reads, limit;
static uint8_t kept[2u * FXP_ADAPT_BYTES];
static uint8_t memory[FXP_RING_SAVED_BYTES + 1u];

static fxp_status read_memory(void *context, uint32_t at, uint8_t *bytes, uint32_t count)
{
    (void)context;
    if ((at > FXP_RING_SAVED_BYTES) || (count > FXP_RING_SAVED_BYTES - at)) {
        return 17;
    }
    memcpy(bytes, memory + at, count);
    return FXP_OK;
}

static fxp_status write_memory(void *context, uint32_t at, const uint8_t *bytes, uint32_t count)
{
    (void)context;
    if ((at > FXP_RING_SAVED_BYTES) || (count > FXP_RING_SAVED_BYTES - at)) {
        return 17;
    }
    memcpy(memory + at, bytes, count);
    return FXP_OK;
}

static fxp_status fail_read(void *context, uint32_t at, uint8_t *bytes, uint32_t count)
{
    return (at > 50u) ? 17 : read_memory(context, at, bytes, count);
}

static fxp_status fail_later(void *context, uint32_t at, uint8_t *bytes, uint32_t count)
{
    reads++;
    return (reads > 1 + (int32_t)(FXP_RING_SAVED_BYTES / 64u)) ? 17 : read_memory(context, at, bytes, count);
}

static fxp_status fail_write(void *context, uint32_t at, const uint8_t *bytes, uint32_t count)
{
    return (at > 50u) ? 17 : write_memory(context, at, bytes, count);
}

static fxp_status read_slots(void *context, uint32_t at, uint8_t *bytes, uint32_t count)
{
    (void)context;
    reads++;
    if ((at > sizeof kept) || (count > sizeof kept - at) || (reads > limit)) {
        return 17;
    }
    memcpy(bytes, kept + at, count);
    return FXP_OK;
}

static fxp_status write_slots(void *context, uint32_t at, const uint8_t *bytes, uint32_t count)
{
    (void)context;
    if ((at > sizeof kept) || (count > sizeof kept - at)) {
        return 17;
    }
    memcpy(kept + at, bytes, count);
    return FXP_OK;
}

static int unchanged(void)
{
    return memcmp(&ring, &before, sizeof ring) == 0;
}

int main(void)
{
    const fxp_multiplier rate = fxp_rate_default();
    static const fxp_multiplier none = {-1, 0};
    static const fxp_storage good = {NULL, read_memory, write_memory, NULL, 0};
    static const fxp_storage bad = {NULL, fail_read, fail_write, NULL, 0};
    static const fxp_storage later = {NULL, fail_later, NULL, NULL, 0};
    static const fxp_storage nothing = {NULL, NULL, NULL, NULL, 0};
    static const fxp_storage slots = {NULL, read_slots, write_slots, NULL, FXP_ADAPT_BYTES};
    static const fxp_storage short_slots = {NULL, read_slots, write_slots, NULL, FXP_ADAPT_BYTES - 1u};
    static const fxp_storage sealed = {NULL, read_slots, NULL, NULL, FXP_ADAPT_BYTES};
    static const fxp_storage failing = {NULL, read_slots, fail_write, NULL, FXP_ADAPT_BYTES};
    uint32_t i;
    int32_t n;
    limit = INT32_MAX;
    CHECK(fxp_adapt_keep(&never, &ring, &slots) == FXP_NOT_READY)
    CHECK(fxp_adapt_recall(&never, &ring, &slots) == FXP_NOT_READY)
    CHECK(fxp_adapt_begin(&never, &ring) == FXP_NOT_READY)
    CHECK(fxp_adapt_add(&never, &ring, inputs, 0) == FXP_NOT_READY)
    CHECK(fxp_adapt_step(&never, &ring, 1, rate).status == FXP_NOT_READY)
    CHECK(fxp_init(&model, arena) == FXP_OK)
    CHECK(fxp_adapt_begin(&model, NULL) == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_add(&model, &ring, inputs, 0) == FXP_NOT_READY)
    CHECK(fxp_adapt_step(&model, &ring, 1, rate).status == FXP_NOT_READY)
    CHECK(fxp_adapt_write(&ring, &good) == FXP_NOT_READY)
    CHECK(fxp_adapt_keep(&model, &ring, &slots) == FXP_NOT_READY)
    CHECK(fxp_adapt_begin(&model, &ring) == FXP_OK)
    before = ring;
    CHECK(fxp_adapt_add(&model, &ring, NULL, 0) == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_add_raw(&model, &ring, NULL, 0) == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_add(&model, &ring, inputs, FXP_OUTPUTS) == FXP_BAD_LABEL)
    CHECK(fxp_adapt_step(&model, NULL, 1, rate).status == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_step(&model, &ring, -1, rate).status == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_step(&model, &ring, INT32_MAX, rate).status == FXP_FULL)
    CHECK(fxp_adapt_step(&model, &ring, 0, rate).status == FXP_NOTHING)
    CHECK(fxp_adapt_step(&model, &ring, 1, none).status == FXP_BAD_RATE)
    CHECK(unchanged() && (fxp_steps(&model) == 0u))
    CHECK(fxp_adapt_add(&model, NULL, inputs, 1) == FXP_OK)
    CHECK(unchanged())
    for (n = 1; n < FXP_BATCH; n++) {
        CHECK(fxp_adapt_add(&model, &ring, inputs, 1) == FXP_OK)
    }
    CHECK(!unchanged())
    before = ring;
    CHECK(fxp_adapt_add(&model, &ring, inputs, 1) == FXP_FULL)
    CHECK(fxp_adapt_step(&model, &ring, 1, rate).status == FXP_FULL)
    CHECK(unchanged())
    CHECK(fxp_adapt_step(&model, &ring, 0, rate).samples == FXP_BATCH)
    CHECK(fxp_adapt_step(&model, &ring, FXP_BATCH, rate).samples == FXP_BATCH)
    CHECK(unchanged() && (fxp_steps(&model) == 2u))
    CHECK(fxp_adapt_write(NULL, &good) == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_write(&ring, NULL) == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_write(&ring, &nothing) == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_write(&ring, &bad) == FXP_STORAGE)
    CHECK(fxp_adapt_read(&ring, &good) == FXP_DAMAGED)
    CHECK(unchanged())
    CHECK(fxp_adapt_write(&ring, &good) == FXP_OK)
    CHECK(fxp_adapt_read(NULL, &good) == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_read(&ring, &nothing) == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_read(&ring, &bad) == FXP_STORAGE)
    for (i = 0; i < 8u * FXP_RING_SAVED_BYTES; i++) { /* no bit may be another one */
        memory[i / 8u] ^= (uint8_t)(1u << (i % 8u));
        CHECK(fxp_adapt_read(&ring, &good) != FXP_OK)
        memory[i / 8u] ^= (uint8_t)(1u << (i % 8u));
    }
    CHECK(unchanged())
    memset(&ring, 0, sizeof ring);
    CHECK(fxp_adapt_read(&ring, &good) == FXP_OK)
    CHECK(memcmp(ring.latents, before.latents, sizeof ring.latents) == 0)
    CHECK(memcmp(ring.groups, before.groups, sizeof ring.groups) == 0)
    CHECK(memcmp(ring.offered, before.offered, sizeof ring.offered) == 0)
    CHECK(fxp_adapt_read(&ring, &later) == FXP_STORAGE)
    CHECK(fxp_adapt_step(&model, &ring, 1, rate).status == FXP_NOT_READY)
    CHECK(fxp_adapt_add(&model, &ring, inputs, 1) == FXP_NOT_READY)
    CHECK(fxp_adapt_write(&ring, &good) == FXP_NOT_READY)
    CHECK(fxp_adapt_read(&ring, &good) == FXP_OK)
    CHECK(fxp_adapt_step(&model, &ring, 1, rate).samples == 1)
    before = ring;
    CHECK(fxp_adapt_keep(&model, NULL, &slots) == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_keep(&model, &ring, NULL) == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_keep(&model, &ring, &short_slots) == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_keep(&model, &ring, &sealed) == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_keep(&model, &ring, &failing) == FXP_STORAGE)
    CHECK(fxp_adapt_recall(&model, NULL, &slots) == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_recall(&model, &ring, &short_slots) == FXP_BAD_ARGUMENT)
    CHECK(fxp_adapt_recall(&model, &ring, &slots) == FXP_NOTHING)
    CHECK(fxp_state_keep(&model, &slots) == FXP_OK)
    CHECK(fxp_adapt_recall(&model, &ring, &slots) == FXP_NOTHING) /* a state without a ring is no pair */
    CHECK(unchanged() && (fxp_steps(&model) == 3u))
    memset(kept, 0, sizeof kept);
    CHECK(fxp_adapt_keep(&model, &ring, &slots) == FXP_OK)
    CHECK(fxp_adapt_add(&model, &ring, inputs, 1) == FXP_OK)
    CHECK(fxp_adapt_step(&model, &ring, 1, rate).samples == 2)
    CHECK(fxp_adapt_keep(&model, &ring, &slots) == FXP_OK)
    memcpy(kept + FXP_ADAPT_BYTES + FXP_RING_AT, kept + FXP_RING_AT, FXP_RING_SAVED_BYTES); /* another state's ring */
    CHECK(fxp_adapt_recall(&model, &ring, &slots) == FXP_OK)
    CHECK((memcmp(ring.offered, before.offered, sizeof ring.offered) == 0) && (fxp_steps(&model) == 3u))
    reads = 0;
    CHECK(fxp_adapt_recall(&model, &ring, &slots) == FXP_OK)
    limit = reads - 1; /* the last read fails */
    reads = 0;
    CHECK(fxp_adapt_recall(&model, &ring, &slots) == FXP_STORAGE)
    limit = INT32_MAX;
    CHECK(fxp_adapt_keep(&model, &ring, &slots) == FXP_NOT_READY)
    CHECK(fxp_adapt_recall(&model, &ring, &slots) == FXP_NOT_READY)
    CHECK(fxp_init(&model, arena) == FXP_OK)
    CHECK(fxp_adapt_keep(&model, &ring, &slots) == FXP_NOT_READY)
    CHECK(fxp_adapt_recall(&model, &ring, &slots) == FXP_OK)
    return 0;
}
