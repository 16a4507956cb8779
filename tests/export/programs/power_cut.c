/* Power fails while a state is kept: at every moment the state before or the state after comes back. Code 0: it does.
 *
 * The memory is like NOR flash: erasing sets all bits of a slot, writing clears bits; where power fails, the rest of what was
 * asked for is left undone, and what was under way has any value, or cannot be read until it is erased (flash with error
 * correction). With -DERASES=0 it is like EEPROM or FRAM, where bytes are written over. */
#include <string.h>

#include "fxp.h"

#ifndef CUTS
#define CUTS 400
#endif
#ifndef ERASES
#define ERASES 1
#endif
#define NOWHERE UINT32_MAX
#define SLOT ((FXP_STATE_BYTES + 255u) / 256u * 256u)

static uint8_t flash[2u * SLOT], was[2u * SLOT];
static uint32_t left; /* bytes that can still be erased or written */
static uint32_t torn = NOWHERE; /* a byte that cannot be read */
static uint32_t random_state = 1;
static fxp_model model;
static uint64_t arena[FXP_ARENA_WORDS];
static uint8_t before[FXP_STATE_BYTES], after[FXP_STATE_BYTES], found[FXP_STATE_BYTES];

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

/* Whether power lasts for one more byte; the one under way when it fails has any value. */
static int lasts(uint32_t at)
{
    if (left == 0u) {
        return 0;
    }
    left--;
    torn = (torn == at) ? NOWHERE : torn;
    if (left == 0u) {
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

static void learn(void)
{
    fxp_input inputs[FXP_INPUTS];
    uint32_t i;
    for (i = 0; i < FXP_INPUTS; i++) {
        inputs[i] = (fxp_input)(draw() & 127u);
    }
    (void)fxp_train_add(&model, inputs, (uint16_t)(draw() % FXP_OUTPUTS));
    (void)fxp_train_finish(&model, fxp_rate_ratio(1, 10));
}

/* What a board that starts now finds; the bytes of the state to `found`. */
static fxp_status restart(void)
{
    memset(&model, 0, sizeof model);
    memset(arena, 0x5A, sizeof arena);
    (void)fxp_init(&model, arena);
    left = UINT32_MAX;
    return (fxp_state_recall(&model, &storage) == FXP_OK) ? fxp_state_save(&model, found, sizeof found) : FXP_NOTHING;
}

int main(void)
{
    uint32_t cut, olds = 0, news = 0;
    (void)fxp_init(&model, arena);
    left = UINT32_MAX;
    memset(flash, 0x3C, sizeof flash); /* whatever was there */
    if ((fxp_state_recall(&model, &storage) != FXP_NOTHING) || (fxp_state_keep(&model, &storage) != FXP_OK)) {
        return 1;
    }
    (void)fxp_state_save(&model, before, sizeof before);
    for (cut = 0; cut < CUTS; cut++) {
        learn();
        (void)fxp_state_save(&model, after, sizeof after);
        memcpy(was, flash, sizeof flash);
        left = 1u + draw() % (ERASES * SLOT + FXP_STATE_BYTES + 64u);
        (void)fxp_state_keep(&model, &storage);
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
