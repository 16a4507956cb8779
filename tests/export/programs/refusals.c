/* Everything that a caller can get wrong is refused with its code and changes nothing. The exit code is the line of the
 * first check that fails. */
#include <string.h>

#include "fxp.h"

#define CHECK(condition)                                                       \
    if (!(condition)) {                                                        \
        return __LINE__ % 256;                                                 \
    }

static fxp_model model, never;
static uint64_t arena[FXP_ARENA_WORDS + 1u];
static fxp_input inputs[FXP_BATCH * FXP_INPUTS];
static uint8_t start[FXP_STATE_BYTES], now[FXP_STATE_BYTES], bad[FXP_STATE_BYTES], memory[2u * FXP_STATE_BYTES];

static int unchanged(void)
{
    return (fxp_state_save(&model, now, sizeof now) == FXP_OK) && (memcmp(start, now, sizeof now) == 0);
}

static fxp_status fail_write(void *context, uint32_t at, const uint8_t *bytes, uint32_t count)
{
    (void)context;
    (void)bytes;
    return (at + count > 100u) ? 17 : FXP_OK;
}

/* Memory that fails, or gives another byte, after so many bytes. */
static uint32_t reads_left;
static int changes;

static fxp_status weak_read(void *context, uint32_t at, uint8_t *bytes, uint32_t count)
{
    memcpy(bytes, (const uint8_t *)context + at, count);
    if (reads_left >= count) {
        reads_left -= count;
        return FXP_OK;
    }
    bytes[count / 2u] ^= 1u;
    return changes ? FXP_OK : 17;
}

static fxp_status fail_read(void *context, uint32_t at, uint8_t *bytes, uint32_t count)
{
    memcpy(bytes, (const uint8_t *)context + at, count);
    return (at > 100u) ? 17 : FXP_OK;
}

int main(void)
{
    static const uint16_t good[FXP_BATCH] = {0};
    uint16_t labels[FXP_BATCH] = {0};
    const fxp_multiplier rate = fxp_rate_default(), rates[] = {{-1, 0}, {32768, 15}, {16384, -1}, {1, 200}, {1, -200}};
    fxp_storage storage = {memory, fail_read, fail_write, NULL, FXP_STATE_BYTES};
    fxp_usage usage;
    fxp_result result;
    uint8_t *misplaced = (uint8_t *)arena;
    uint32_t i;
    CHECK(fxp_predict(&never, inputs, NULL) == FXP_NOT_READY)
    CHECK(fxp_train_step(&never, inputs, good, 1, rate).status == FXP_NOT_READY)
    CHECK(fxp_train_add(&never, inputs, 0) == FXP_NOT_READY)
    CHECK(fxp_state_save(&never, now, sizeof now) == FXP_NOT_READY)
    CHECK(fxp_state_load(&never, now, sizeof now) == FXP_NOT_READY)
    CHECK(fxp_usage_of(&never, 0, FXP_OF_OUTPUTS, &usage) == FXP_NOT_READY)
    CHECK(fxp_predict(NULL, inputs, NULL) == FXP_NOT_READY)
    CHECK(fxp_init(NULL, arena) == FXP_BAD_ARGUMENT)
    CHECK(fxp_init(&model, NULL) == FXP_BAD_ARGUMENT)
    CHECK(fxp_init(&model, misplaced + 1) == FXP_BAD_ARGUMENT)
    CHECK(fxp_init(&model, arena) == FXP_OK)
    CHECK(fxp_state_save(&model, start, sizeof start) == FXP_OK)
    CHECK(fxp_predict(&model, NULL, NULL) == FXP_BAD_ARGUMENT)
    CHECK(fxp_train_step(&model, inputs, good, 0, rate).status == FXP_BAD_ARGUMENT)
    CHECK(fxp_train_step(&model, inputs, good, FXP_BATCH + 1, rate).status == FXP_BAD_ARGUMENT)
    CHECK(fxp_train_step(&model, inputs, good, INT32_MIN, rate).status == FXP_BAD_ARGUMENT)
    CHECK(fxp_train_step(&model, NULL, good, 1, rate).status == FXP_BAD_ARGUMENT)
    CHECK(fxp_train_step(&model, inputs, NULL, 1, rate).status == FXP_BAD_ARGUMENT)
    labels[FXP_BATCH - 1] = FXP_OUTPUTS;
    result = fxp_train_step(&model, inputs, labels, FXP_BATCH, rate);
    CHECK((result.status == FXP_BAD_LABEL) && (result.samples == 0))
    CHECK(fxp_train_add(&model, inputs, UINT16_MAX) == FXP_BAD_LABEL)
    CHECK(fxp_score(&model, inputs, FXP_OUTPUTS).status == FXP_BAD_LABEL)
    for (i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        CHECK(fxp_train_step(&model, inputs, good, 1, rates[i]).status == FXP_BAD_RATE)
    }
    CHECK(fxp_train_step(&model, inputs, good, 1, fxp_rate_ratio(1, 0)).status == FXP_BAD_RATE)
    CHECK(fxp_train_step(&model, inputs, good, 1, fxp_rate_ratio(1000, 1)).status == FXP_BAD_RATE)
    CHECK(fxp_train_step(&model, inputs, good, 1, fxp_rate_ratio(UINT64_MAX, UINT64_MAX)).status == FXP_BAD_RATE)
    CHECK(fxp_train_step(&model, inputs, good, 1, fxp_rate_halved(fxp_rate_ratio(1, 0))).status == FXP_BAD_RATE)
    CHECK(fxp_train_finish(&model, rate).status == FXP_NOTHING)
    if (8u * sizeof(fxp_value) > FXP_VALUE_BITS) { /* a number that fits into its bytes, but not into its bits */
        static fxp_value raw[FXP_BATCH * FXP_INPUTS];
        fxp_value *last = raw + (FXP_BATCH - 1) * FXP_INPUTS;
        for (i = 0; i < 2u; i++) {
            const int32_t beyond = (i == 0u) ? (FXP_MAX_RAW(FXP_VALUE_BITS) + 1) : (FXP_MIN_RAW(FXP_VALUE_BITS) - 1);
            last[FXP_INPUTS - 1] = (fxp_value)beyond;
            CHECK(fxp_train_step_raw(&model, raw, good, FXP_BATCH, rate).status == FXP_BAD_ARGUMENT)
            CHECK(fxp_train_add_raw(&model, last, 0) == FXP_BAD_ARGUMENT)
            CHECK(fxp_predict_raw(&model, last, NULL) == FXP_BAD_ARGUMENT)
            CHECK(fxp_score_raw(&model, last, 0).status == FXP_BAD_ARGUMENT)
        }
    }
    CHECK(fxp_usage_of(&model, -1, FXP_OF_OUTPUTS, &usage) == FXP_BAD_ARGUMENT)
    CHECK(fxp_usage_of(&model, FXP_STAGES, FXP_OF_OUTPUTS, &usage) == FXP_BAD_ARGUMENT)
    CHECK(fxp_usage_of(&model, 0, 3, &usage) == FXP_BAD_ARGUMENT)
    CHECK(fxp_usage_of(&model, 0, FXP_OF_WEIGHTS, &usage) == FXP_OK)
    CHECK(usage.bits == FXP_PARAM_BITS)
    CHECK(fxp_state_save(&model, now, sizeof now - 1u) == FXP_BAD_ARGUMENT)
    CHECK(fxp_state_load(&model, start, sizeof start - 1u) == FXP_BAD_ARGUMENT)
    CHECK(fxp_state_load(&model, NULL, sizeof start) == FXP_BAD_ARGUMENT)
    for (i = 0; i < FXP_STATE_BYTES; i++) { /* one wrong bit anywhere */
        memcpy(bad, start, sizeof bad);
        bad[i] ^= (uint8_t)(1u << (i % 8u));
        CHECK(fxp_state_load(&model, bad, sizeof bad) == (((i >= 4u) && (i < 16u)) ? FXP_FOREIGN : FXP_DAMAGED))
    }
    memcpy(memory, start, sizeof start);
    CHECK(fxp_state_write(&model, &storage) == FXP_STORAGE)
    CHECK(fxp_state_read(&model, &storage) == FXP_STORAGE)
    CHECK(fxp_state_keep(&model, &storage) == FXP_STORAGE)
    CHECK(fxp_state_recall(&model, &storage) == FXP_STORAGE)
    storage.read = weak_read;
    for (changes = 0; changes < 2; changes++) { /* what fails between checking and loading leaves no half of a state */
        reads_left = FXP_STATE_BYTES + 100u;
        CHECK(fxp_state_read(&model, &storage) == (changes ? FXP_DAMAGED : FXP_STORAGE))
        CHECK(fxp_predict(&model, inputs, NULL) == FXP_NOT_READY)
        CHECK(fxp_init(&model, arena) == FXP_OK)
    }
    storage.read = fail_read;
    storage.slot_bytes = FXP_STATE_BYTES - 1u;
    CHECK(fxp_state_keep(&model, &storage) == FXP_BAD_ARGUMENT)
    CHECK(fxp_state_recall(&model, NULL) == FXP_BAD_ARGUMENT)
    CHECK(unchanged())
    for (i = 0; i < FXP_BATCH; i++) { /* a full batch has no room, not even for a question */
        CHECK(fxp_predict(&model, inputs, NULL) >= 0)
        CHECK(fxp_train_add(&model, inputs, 0) == FXP_OK)
    }
    CHECK(fxp_train_add(&model, inputs, 0) == FXP_FULL)
    CHECK(fxp_predict(&model, inputs, NULL) == FXP_FULL)
    CHECK(fxp_score(&model, inputs, 0).status == FXP_FULL)
    CHECK(fxp_train_step(&model, inputs, good, 1, rate).status == FXP_FULL)
    CHECK(fxp_train_finish(&model, fxp_rate_ratio(1, 0)).status == FXP_BAD_RATE)
    fxp_train_drop(&model);
    CHECK(unchanged())
    CHECK(fxp_steps(&model) == FXP_START_STEP)
    result = fxp_train_step(&model, inputs, good, 1, rate);
    CHECK((result.status == FXP_OK) && (result.samples == 1) && (result.rounded > 0u))
    CHECK(fxp_steps(&model) == FXP_START_STEP + 1u)
    CHECK(fxp_score(&model, inputs, 0).samples == 1)
    return 0;
}
