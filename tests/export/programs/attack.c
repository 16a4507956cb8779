/* States that somebody made up: whatever the bytes are, nothing is read or written outside, a refused state changes
 * nothing, and with an accepted one the model predicts and trains. For the sanitizers, and as a target of libFuzzer.
 */
#include <stdlib.h>
#include <string.h>

#include "fxp.h"

#ifndef ROUNDS
#define ROUNDS 20000
#endif

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static fxp_model model;
static uint64_t arena[FXP_ARENA_WORDS];
static uint8_t before[FXP_STATE_BYTES], now[FXP_STATE_BYTES], made[FXP_STATE_BYTES];

static uint32_t crc32(const uint8_t *bytes, uint32_t count)
{
    uint32_t crc = UINT32_MAX, i, bit;
    for (i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (bit = 0; bit < 8u; bit++) {
            crc = (crc >> 1) ^ (((crc & 1u) != 0u) ? 0xEDB88320u : 0u);
        }
    }
    return ~crc;
}

/* A checksum that fits, so that what stands before it is looked at. */
static void sign(uint8_t *bytes)
{
    const uint32_t crc = crc32(bytes, FXP_STATE_BYTES - 4u);
    uint32_t i;
    for (i = 0; i < 4u; i++) {
        bytes[FXP_STATE_BYTES - 4u + i] = (uint8_t)((crc >> (8u * i)) & 255u);
    }
}

/* 0: refused, 1: accepted, 2: refused, but the model changed. */
static int try(const uint8_t *bytes, uint32_t count)
{
    static fxp_input inputs[FXP_INPUTS];
    int32_t i;
    (void)fxp_state_save(&model, before, sizeof before);
    if (fxp_state_load(&model, bytes, count) != FXP_OK) {
        (void)fxp_state_save(&model, now, sizeof now);
        return (memcmp(before, now, sizeof now) == 0) ? 0 : 2;
    }
    for (i = 0; i < FXP_INPUTS; i++) {
        inputs[i] = (fxp_input)(i % 100);
    }
    (void)fxp_predict(&model, inputs, NULL);
    for (i = 0; i < 3; i++) {
        (void)fxp_train_add(&model, inputs, 0);
        (void)fxp_train_finish(&model, fxp_rate_ratio(15, 1));
    }
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    (void)fxp_init(&model, arena);
    (void)fxp_state_save(&model, made, sizeof made);
    memcpy(made + 20, bytes, (count < FXP_STATE_BYTES - 24u) ? count : (FXP_STATE_BYTES - 24u));
    if ((count == 0u) || ((bytes[0] & 1u) == 0u)) {
        sign(made);
    }
    if (try(made, (uint32_t)sizeof made) == 2) {
        abort();
    }
    return 0;
}

#ifndef LIBFUZZER

static uint32_t draw(void)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

int main(void)
{
    uint32_t round, accepted = 0, refused = 0;
    for (round = 0; round < ROUNDS; round++) {
        const uint32_t changes = draw() % 4u, signed_well = draw() % 4u;
        uint32_t i;
        int result;
        (void)fxp_init(&model, arena);
        (void)fxp_state_save(&model, made, sizeof made);
        for (i = 0; i <= changes; i++) { /* half of them among the formats, which are few */
            const uint32_t at = ((draw() & 1u) != 0u) ? (draw() % FXP_STATE_BYTES) : (20u + draw() % (24u * FXP_FORMS + 8u * FXP_STAGES));
            made[at % FXP_STATE_BYTES] = ((draw() & 1u) != 0u) ? (uint8_t)draw() : (uint8_t)(made[at % FXP_STATE_BYTES] + draw() % 5u - 2u);
        }
        if (signed_well != 0u) {
            sign(made);
        }
        result = try(made, (uint32_t)sizeof made);
        if (result == 2) {
            return 1;
        }
        accepted += (result == 1) ? 1u : 0u;
        refused += (result == 0) ? 1u : 0u;
    }
    return ((accepted > ROUNDS / 20u) && (refused > ROUNDS / 20u)) ? 0 : 2;
}

#endif
