/* The same on a board: samples of `vectors.bin`, behind their number; of each the logits and the ticks go to `results.bin`. */
#include "fxp_cmsis.h"
#include "runner_io.h"

#define SCRATCH_BYTES 65536

static fxp_cmsis_value inputs[FXP_CMSIS_INPUTS], logits[FXP_CMSIS_OUTPUTS];
static uint64_t scratch[SCRATCH_BYTES / sizeof(uint64_t)];

int main(void)
{
    int32_t samples;
    io_open();
    io_read(&samples, sizeof samples);
    for (; samples > 0; samples--) {
        uint64_t ticks;
        int32_t class;
        io_read(inputs, sizeof inputs);
        ticks = io_ticks();
        class = fxp_cmsis_predict_raw(inputs, scratch, SCRATCH_BYTES, logits);
        ticks = io_ticks() - ticks;
        if (class < 0) {
            return 3;
        }
        io_write(logits, sizeof logits);
        io_write(&ticks, sizeof ticks);
    }
    io_close();
    return 0;
}
