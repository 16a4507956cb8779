/* Two exports in one program: `left` trains while `right` predicts, and each gives what it gives alone. Code 0: all equal. */
#include <string.h>

#include "left.h"
#include "right.h"

#define STEPS 6

static left_model trained;
static right_model asked;
static uint64_t left_arena[LEFT_ARENA_WORDS], right_arena[RIGHT_ARENA_WORDS];
static uint8_t alone[LEFT_STATE_BYTES], together[LEFT_STATE_BYTES];
static int32_t answers[STEPS][RIGHT_OUTPUTS], logits[RIGHT_OUTPUTS];

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 24;
}

static int train(uint32_t step)
{
    left_input inputs[LEFT_INPUTS];
    uint32_t seed = step, i;
    for (i = 0; i < LEFT_INPUTS; i++) {
        inputs[i] = (left_input)next(&seed);
    }
    return (left_train_add(&trained, inputs, (uint16_t)(step % LEFT_OUTPUTS)) == LEFT_OK)
           && (left_train_finish(&trained, left_rate_default()).status == LEFT_OK);
}

static int predict(uint32_t step, int32_t *to)
{
    right_input inputs[RIGHT_INPUTS];
    uint32_t seed = 77u + step, i;
    for (i = 0; i < RIGHT_INPUTS; i++) {
        inputs[i] = (right_input)next(&seed);
    }
    return right_predict(&asked, inputs, to) >= 0;
}

int main(void)
{
    uint32_t step;
    if ((left_init(&trained, left_arena) != LEFT_OK) || (right_init(&asked, right_arena) != RIGHT_OK)) {
        return 1;
    }
    for (step = 0; step < STEPS; step++) {
        if (!train(step)) {
            return 2;
        }
    }
    for (step = 0; step < STEPS; step++) {
        if (!predict(step, answers[step])) {
            return 3;
        }
    }
    (void)left_state_save(&trained, alone, sizeof alone);
    (void)left_init(&trained, left_arena);
    for (step = 0; step < STEPS; step++) {
        if (!train(step) || !predict(step, logits) || (memcmp(logits, answers[step], sizeof logits) != 0)) {
            return 4;
        }
    }
    (void)left_state_save(&trained, together, sizeof together);
    return (memcmp(alone, together, sizeof alone) == 0) ? 0 : 5;
}
