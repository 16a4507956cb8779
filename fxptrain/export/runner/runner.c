/* Verification: run an export on vectors made by Python and write down every integer it gives.
 *
 * vectors.bin, little-endian: a head; `reals` samples of real numbers (frac, values) to quantize; `before` samples to
 * predict; `steps` batches (count, rate, samples, goals); `after` samples to predict. results.bin: the quantized samples;
 * for each prediction class, logits, ticks; for each step loss, correct, samples, ticks; then the state. Every second step
 * gets its batch sample by sample. At step `power_cycle` the state is kept twice, the newer one is damaged, all memory
 * forgotten and the older one recalled, which must change nothing. Where there is a ring, two of four steps adapt with it,
 * it is kept and recalled with the state, and the results have it behind the state.
 */
#include <string.h>

#include "fxp.h"
#include "fxp_replay.h"
#include "runner_io.h"

typedef struct {
    int32_t reals;
    int32_t before;
    int32_t steps;
    int32_t after;
    int32_t raw; /* 1: samples are raw integers, 0: what the model reads */
    int32_t power_cycle;
} head;

#if FXP_TRAINING
#define SAMPLES FXP_BATCH
#else
#define SAMPLES 1
#endif

static fxp_model model;
static uint64_t arena[FXP_ARENA_WORDS];
static fxp_value samples[SAMPLES * FXP_INPUTS];

/* The samples as the model reads them. */
static const fxp_input *given(void)
{
    const void *at = samples;
    return (const fxp_input *)at;
}

static void read_samples(int32_t count, int32_t raw)
{
    io_read(samples, (uint32_t)(count * FXP_INPUTS) * (uint32_t)(raw ? sizeof(fxp_value) : sizeof(fxp_input)));
}

static void predict(int32_t raw)
{
    int32_t found[1 + FXP_OUTPUTS];
    uint64_t ticks;
    read_samples(1, raw);
    ticks = io_ticks();
    found[0] = raw ? fxp_predict_raw(&model, samples, &found[1]) : fxp_predict(&model, given(), &found[1]);
    ticks = io_ticks() - ticks;
    io_write(found, sizeof found);
    io_write(&ticks, sizeof ticks);
}

#if !FXP_PIXELS

static int32_t quantize(void)
{
    static int32_t values[FXP_INPUTS];
    int32_t frac;
    io_read(&frac, sizeof frac);
    io_read(values, sizeof values);
    if (fxp_quantize_input(values, frac, samples) != FXP_OK) {
        return 0;
    }
    io_write(samples, FXP_INPUTS * sizeof samples[0]);
    return 1;
}

#endif

#if FXP_TRAINING

static fxp_goal goal_of(const fxp_goal_item *goals, int32_t n)
{
#if FXP_VECTORS
    return (goals == NULL) ? NULL : (goals + n * FXP_OUTPUTS);
#else
    return goals[n];
#endif
}

static fxp_result sample_by_sample(const fxp_goal_item *goals, int32_t count, int32_t raw, fxp_multiplier rate)
{
    int32_t n;
    for (n = 0; n < count; n++) {
        if (raw) {
            (void)fxp_train_add_raw(&model, samples + n * FXP_INPUTS, goal_of(goals, n));
        } else {
            (void)fxp_train_add(&model, given() + n * FXP_INPUTS, goal_of(goals, n));
        }
    }
    if (count < FXP_BATCH) { /* neither changes anything */
        if (raw) {
            (void)fxp_predict_raw(&model, samples, NULL);
            (void)fxp_score_raw(&model, samples, goal_of(goals, 0));
        } else {
            (void)fxp_predict(&model, given(), NULL);
            (void)fxp_score(&model, given(), goal_of(goals, 0));
        }
    }
    return fxp_train_finish(&model, rate);
}

#if FXP_REPLAY > 0

static fxp_ring ring;

/* New samples, of every second step offered to the ring, and as many of the ring's as there is room for. */
static fxp_result adapt(const fxp_goal_item *goals, int32_t count, int32_t raw, fxp_multiplier rate, int32_t keep)
{
    fxp_ring *heard = keep ? &ring : NULL;
    int32_t n;
    for (n = 0; n < count; n++) {
        if (raw) {
            (void)fxp_adapt_add_raw(&model, heard, samples + n * FXP_INPUTS, goal_of(goals, n));
        } else {
            (void)fxp_adapt_add(&model, heard, given() + n * FXP_INPUTS, goal_of(goals, n));
        }
    }
    return fxp_adapt_step(&model, &ring, FXP_BATCH - count, rate);
}

#endif

static void train(int32_t step, int32_t raw)
{
    int32_t sizes[3], found[2];
    static fxp_goal_item kept[FXP_BATCH_GOALS];
    const fxp_goal_item *goals = kept;
    fxp_multiplier rate;
    fxp_result result;
    uint64_t ticks;
    io_read(sizes, sizeof sizes);
    rate.mantissa = sizes[1];
    rate.shift = sizes[2];
    read_samples(sizes[0], raw);
    io_read(kept, (uint32_t)(sizes[0] * FXP_GOAL_ITEMS) * (uint32_t)sizeof(fxp_goal_item));
#if FXP_LEARNS_INPUTS
    goals = NULL; /* what was read are the inputs */
#endif
    ticks = io_ticks();
#if FXP_REPLAY > 0
    if (step % 4 < 2) {
        result = adapt(goals, sizes[0], raw, rate, step % 4 == 0);
    } else
#endif
    if (step % 2 == 1) {
        result = sample_by_sample(goals, sizes[0], raw, rate);
    } else if (raw) {
        result = fxp_train_step_raw(&model, samples, goals, sizes[0], rate);
    } else {
        result = fxp_train_step(&model, given(), goals, sizes[0], rate);
    }
    ticks = io_ticks() - ticks;
    found[0] = result.correct;
    found[1] = result.samples;
    io_write(&result.loss_sum, sizeof result.loss_sum);
    io_write(found, sizeof found);
    io_write(&ticks, sizeof ticks);
}

static fxp_status read_flash(void *context, uint32_t at, uint8_t *bytes, uint32_t count)
{
    (void)context;
    io_flash_read(at, bytes, count);
    return FXP_OK;
}

static fxp_status write_flash(void *context, uint32_t at, const uint8_t *bytes, uint32_t count)
{
    (void)context;
    io_flash_write(at, bytes, count);
    return FXP_OK;
}

static fxp_status write_result(void *context, uint32_t at, const uint8_t *bytes, uint32_t count)
{
    (void)context;
    (void)at;
    io_write(bytes, count);
    return FXP_OK;
}

static const fxp_storage results = {NULL, NULL, write_result, NULL, 0};

#if FXP_REPLAY > 0

#define SLOT FXP_ADAPT_BYTES

static fxp_status keep(const fxp_storage *flash)
{
    return fxp_adapt_keep(&model, &ring, flash);
}

static fxp_status recall(const fxp_storage *flash)
{
    return fxp_adapt_recall(&model, &ring, flash);
}

#else

#define SLOT FXP_STATE_BYTES

static fxp_status keep(const fxp_storage *flash)
{
    return fxp_state_keep(&model, flash);
}

static fxp_status recall(const fxp_storage *flash)
{
    return fxp_state_recall(&model, flash);
}

#endif

static int32_t power_cycle(void)
{
    static const fxp_storage flash = {NULL, read_flash, write_flash, NULL, SLOT};
    uint8_t byte;
    if ((keep(&flash) != FXP_OK) || (keep(&flash) != FXP_OK)) {
        return 0;
    }
    io_flash_read(SLOT + 30u, &byte, 1);
    byte ^= 1u;
    io_flash_write(SLOT + 30u, &byte, 1);
    memset(arena, 0xA5, sizeof arena);
    memset(&model, 0xA5, sizeof model);
#if FXP_REPLAY > 0
    memset(&ring, 0xA5, sizeof ring);
#endif
    if (recall(&flash) != FXP_NOT_READY) {
        return 0;
    }
    (void)fxp_init(&model, arena);
    return recall(&flash) == FXP_OK;
}

#endif

int main(void)
{
    head todo;
    int32_t i;
    io_open();
    io_read(&todo, sizeof todo);
    if (fxp_init(&model, arena) != FXP_OK) {
        return 6;
    }
#if FXP_TRAINING
#if FXP_REPLAY > 0
    if (fxp_adapt_begin(&model, &ring) != FXP_OK) {
        return 9;
    }
#endif
#endif
#if !FXP_PIXELS
    for (i = 0; i < todo.reals; i++) {
        if (!quantize()) {
            return 7;
        }
    }
#endif
    for (i = 0; i < todo.before; i++) {
        predict(todo.raw);
    }
#if FXP_TRAINING
    for (i = 0; i < todo.steps; i++) {
        if ((i == todo.power_cycle) && !power_cycle()) {
            return 5;
        }
        train(i, todo.raw);
    }
    if (fxp_state_write(&model, &results) != FXP_OK) {
        return 8;
    }
#if FXP_REPLAY > 0
    if (fxp_adapt_write(&ring, &results) != FXP_OK) {
        return 10;
    }
#endif
#endif
    for (i = 0; i < todo.after; i++) {
        predict(todo.raw);
    }
    io_close();
    return 0;
}
