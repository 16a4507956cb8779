/* Verification: run an export on vectors made by Python and write down every integer it gives.
 *
 * vectors.bin, little-endian: a head; `before` samples to predict; `steps` batches (count, rate, samples, labels);
 * `after` samples to predict. results.bin: for each prediction class, logits, ticks; for each step loss, correct,
 * samples, ticks; then the saved state. At step `power_cycle` the state is saved, all memory forgotten and the state
 * loaded, which must change nothing.
 */
#include <string.h>

#include "fxp.h"
#include "runner_io.h"

typedef struct {
    int32_t before;
    int32_t steps;
    int32_t after;
    int32_t raw; /* 1: samples are raw integers, 0: pixels */
    int32_t power_cycle;
} head;

#if FXP_TRAINING
#define SAMPLES FXP_BATCH
#else
#define SAMPLES 1
#endif

static fxp_model model;
static uint64_t arena[(FXP_ARENA_BYTES + 7u) / 8u];
static fxp_value samples[SAMPLES * FXP_INPUTS];

static void read_samples(int32_t count, int32_t raw)
{
    io_read(samples, (uint32_t)(count * FXP_INPUTS) * (raw ? (uint32_t)sizeof(fxp_value) : 1u));
}

static void predict(int32_t raw)
{
    int32_t found[1 + FXP_OUTPUTS];
    uint64_t ticks;
    const void *pixels = samples;
    read_samples(1, raw);
    ticks = io_ticks();
    found[0] = raw ? fxp_predict_raw(&model, samples, &found[1]) : fxp_predict(&model, pixels, &found[1]);
    ticks = io_ticks() - ticks;
    io_write(found, sizeof found);
    io_write(&ticks, sizeof ticks);
}

#if FXP_TRAINING

static uint8_t state[FXP_STATE_BYTES];

static void train(int32_t raw)
{
    int32_t sizes[3], found[2];
    uint16_t labels[FXP_BATCH];
    fxp_multiplier rate;
    fxp_result result;
    uint64_t ticks;
    const void *pixels = samples;
    io_read(sizes, sizeof sizes);
    rate.mantissa = sizes[1];
    rate.shift = sizes[2];
    read_samples(sizes[0], raw);
    io_read(labels, (uint32_t)sizes[0] * (uint32_t)sizeof(uint16_t));
    ticks = io_ticks();
    if (raw) {
        result = fxp_train_step_raw(&model, samples, labels, sizes[0], rate);
    } else {
        result = fxp_train_step(&model, pixels, labels, sizes[0], rate);
    }
    ticks = io_ticks() - ticks;
    found[0] = result.correct;
    found[1] = result.samples;
    io_write(&result.loss_sum, sizeof result.loss_sum);
    io_write(found, sizeof found);
    io_write(&ticks, sizeof ticks);
}

static int power_cycle(void)
{
    fxp_state_save(&model, state);
    memset(arena, 0xA5, sizeof arena);
    memset(&model, 0xA5, sizeof model);
    fxp_init(&model, arena);
    state[16] ^= 1u; /* a damaged state must be refused and leave the fresh one alone */
    if (fxp_state_load(&model, state)) {
        return 0;
    }
    state[16] ^= 1u;
    return fxp_state_load(&model, state) != 0;
}

#endif

int main(void)
{
    head todo;
    int32_t i;
    io_open();
    io_read(&todo, sizeof todo);
    fxp_init(&model, arena);
    for (i = 0; i < todo.before; i++) {
        predict(todo.raw);
    }
#if FXP_TRAINING
    for (i = 0; i < todo.steps; i++) {
        if ((i == todo.power_cycle) && !power_cycle()) {
            return 5;
        }
        train(todo.raw);
    }
    fxp_state_save(&model, state);
    io_write(state, sizeof state);
#endif
    for (i = 0; i < todo.after; i++) {
        predict(todo.raw);
    }
    io_close();
    return 0;
}
