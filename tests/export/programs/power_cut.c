/* Power fails while a state is kept: at every moment the state before or the state after comes back. Code 0: it does. Where
 * there is a ring, it is kept with the state, and both come back from before or both from after.
 *
 * The memory is like NOR flash: erasing sets all bits of a slot, writing clears bits; where power fails, the rest of what was
 * asked for is left undone, and what was under way is as it was, has any value, or cannot be read until it is erased (flash
 * with error correction). With -DERASES=0 it is like EEPROM or FRAM, where bytes are written over. Moments are drawn, CUTS of
 * them one after the other; with -DEVERY=1 each byte is one, and both slots are whole before it. */
#include <string.h>

#include "fxp.h"
#include "fxp_replay.h"

#ifndef ERASES
#define ERASES 1
#endif
#ifndef EVERY
#define EVERY 0
#endif
#define NOWHERE UINT32_MAX
#if FXP_REPLAY > 0
#define KEPT_BYTES FXP_ADAPT_BYTES
#define WHOLE_BYTES (FXP_STATE_BYTES + FXP_RING_SAVED_BYTES)
#else
#define KEPT_BYTES FXP_STATE_BYTES
#define WHOLE_BYTES FXP_STATE_BYTES
#endif
#define SLOT ((KEPT_BYTES + 255u) / 256u * 256u)
#define MOMENTS (ERASES * SLOT + KEPT_BYTES + 192u) /* of the last ones, nothing is left to be done */
#if EVERY
#define CUTS MOMENTS
#elif !defined(CUTS)
#define CUTS 400
#endif

static uint8_t flash[2u * SLOT];
static uint32_t left; /* bytes that can still be erased or written */
static uint32_t torn = NOWHERE; /* a byte that cannot be read */
static uint32_t random_state = 1;
static fxp_model model;
static uint64_t arena[FXP_ARENA_WORDS];
static uint8_t before[WHOLE_BYTES], after[WHOLE_BYTES], found[WHOLE_BYTES];

static uint32_t draw(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

static fxp_status read_flash(void *context, uint32_t at, uint8_t *bytes, uint32_t count)
{
    (void)context;
    memcpy(bytes, flash + at, count);
    return ((at <= torn) && (torn < at + count)) ? FXP_STORAGE : FXP_OK;
}

/* Whether power lasts for one more byte; the one under way when it fails is as it was, or has any value. */
static int lasts(uint32_t at)
{
    if (left == 0u) {
        return 0;
    }
    left--;
    torn = (torn == at) ? NOWHERE : torn;
    if ((left == 0u) && ((draw() & 3u) != 0u)) {
        flash[at] = (uint8_t)draw();
        torn = ((draw() & 1u) != 0u) ? at : NOWHERE;
    }
    return left > 0u;
}

static fxp_status write_flash(void *context, uint32_t at, const uint8_t *bytes, uint32_t count)
{
    uint32_t i;
    (void)context;
    for (i = 0; i < count; i++) {
        if (!lasts(at + i)) {
            return FXP_STORAGE;
        }
        flash[at + i] = (uint8_t)(ERASES ? (flash[at + i] & bytes[i]) : bytes[i]);
    }
    return FXP_OK;
}

#if ERASES

static fxp_status erase_flash(void *context, uint32_t at, uint32_t count)
{
    uint32_t i;
    (void)context;
    for (i = 0; i < count; i++) {
        if (!lasts(at + i)) {
            return FXP_STORAGE;
        }
        flash[at + i] = 255u;
    }
    return FXP_OK;
}

static const fxp_storage storage = {NULL, read_flash, write_flash, erase_flash, SLOT};

#else

static const fxp_storage storage = {NULL, read_flash, write_flash, NULL, SLOT};

#endif

static void make_up(fxp_input inputs[FXP_INPUTS])
{
    uint32_t i;
    for (i = 0; i < FXP_INPUTS; i++) {
        inputs[i] = (fxp_input)(draw() & 127u);
    }
}

#if FXP_REPLAY > 0

static fxp_ring ring;

static fxp_status write_bytes(void *context, uint32_t at, const uint8_t *bytes, uint32_t count)
{
    memcpy((uint8_t *)context + at, bytes, count);
    return FXP_OK;
}

static fxp_status begin(void)
{
    memset(&ring, 0x5A, sizeof ring);
    return fxp_adapt_begin(&model, &ring);
}

/* Every step changes the state, and the ring by what it counts at least. */
static void learn(void)
{
    fxp_input inputs[FXP_INPUTS];
    make_up(inputs);
    (void)fxp_adapt_add(&model, &ring, inputs, (uint16_t)(draw() % FXP_OUTPUTS));
    (void)fxp_adapt_step(&model, &ring, 1, fxp_rate_ratio(1, 10));
}

static fxp_status keep(void)
{
    return fxp_adapt_keep(&model, &ring, &storage);
}

static fxp_status recall(void)
{
    return fxp_adapt_recall(&model, &ring, &storage);
}

/* State and ring, one behind the other. */
static fxp_status save(uint8_t *bytes)
{
    const fxp_storage behind = {bytes + FXP_STATE_BYTES, NULL, write_bytes, NULL, 0};
    const fxp_status status = fxp_adapt_write(&ring, &behind);
    return (status == FXP_OK) ? fxp_state_save(&model, bytes, FXP_STATE_BYTES) : status;
}

#else

static fxp_status begin(void)
{
    return FXP_OK;
}

static void learn(void)
{
    fxp_input inputs[FXP_INPUTS];
    make_up(inputs);
    (void)fxp_train_add(&model, inputs, (uint16_t)(draw() % FXP_OUTPUTS));
    (void)fxp_train_finish(&model, fxp_rate_ratio(1, 10));
}

static fxp_status keep(void)
{
    return fxp_state_keep(&model, &storage);
}

static fxp_status recall(void)
{
    return fxp_state_recall(&model, &storage);
}

static fxp_status save(uint8_t *bytes)
{
    return fxp_state_save(&model, bytes, FXP_STATE_BYTES);
}

#endif

/* What a board that starts now finds, to `found`. */
static fxp_status restart(void)
{
    memset(&model, 0, sizeof model);
    memset(arena, 0x5A, sizeof arena);
    (void)fxp_init(&model, arena);
    (void)begin();
    left = UINT32_MAX;
    return (recall() == FXP_OK) ? save(found) : FXP_NOTHING;
}

static fxp_status keep_another(void)
{
    learn();
    (void)save(before);
    return keep();
}

int main(void)
{
    uint32_t cut, olds = 0, news = 0;
    (void)fxp_init(&model, arena);
    left = UINT32_MAX;
    memset(flash, 0x3C, sizeof flash); /* whatever was there */
    if ((begin() != FXP_OK) || (recall() != FXP_NOTHING) || (keep() != FXP_OK)) {
        return 1;
    }
    (void)save(before);
    for (cut = 0; cut < CUTS; cut++) {
        if (EVERY && ((keep_another() != FXP_OK) || (keep_another() != FXP_OK))) {
            return 5;
        }
        learn();
        (void)save(after);
        left = 1u + (EVERY ? cut : (draw() % MOMENTS));
        (void)keep();
        if (restart() != FXP_OK) {
            return 2;
        }
        if (memcmp(found, after, sizeof found) == 0) {
            news++;
        } else if (memcmp(found, before, sizeof found) == 0) {
            olds++;
        } else {
            return 3;
        }
        memcpy(before, found, sizeof before); /* the board goes on from what it found */
    }
    return ((olds > 0u) && (news > 0u)) ? 0 : 4;
}
