/* Predict samples of raw inputs from `inputs.bin`; logits go to `logits.bin`. */
#include <stdio.h>
#include <stdlib.h>

#include "fxp_cmsis.h"

static fxp_cmsis_value inputs[FXP_CMSIS_INPUTS], logits[FXP_CMSIS_OUTPUTS];

int main(void)
{
    const int32_t bytes = fxp_cmsis_scratch_bytes();
    void *scratch = malloc((size_t)bytes);
    FILE *from = fopen("inputs.bin", "rb"), *to = fopen("logits.bin", "wb");
    if ((scratch == NULL) || (from == NULL) || (to == NULL)) {
        return 2;
    }
    while (fread(inputs, sizeof inputs, 1, from) == 1) {
        if ((fxp_cmsis_predict_raw(inputs, scratch, bytes, logits) < 0)
            || (fwrite(logits, sizeof logits, 1, to) != 1)) {
            return 3;
        }
    }
    free(scratch);
    return ((fclose(from) != 0) || (fclose(to) != 0)) ? 4 : 0;
}
