/* A trained integer model on the kernels of CMSIS-NN (version 6 or later), for Arm Cortex-M.
 *
 *     static uint64_t scratch[...];                            (fxp_cmsis_scratch_bytes() bytes or more)
 *     number = fxp_cmsis_predict(pixels, scratch, sizeof scratch, logits);
 *
 * The layers, their weights and the sizes are in the generated files. README.md says where CMSIS-NN rounds differently from
 * the engine that trained the model.
 */
#ifndef FXP_CMSIS_H
#define FXP_CMSIS_H

#include <stdint.h>

#include "arm_nnfunctions.h"
#include "fxp_cmsis_config.h"

#ifdef __cplusplus
extern "C" {
#endif

#if FXP_CMSIS_BITS == 8
typedef int8_t fxp_cmsis_value; /* the kernels that end in _s8: sums and biases in int32 */
typedef int32_t fxp_cmsis_bias;
#else
typedef int16_t fxp_cmsis_value; /* _s16: 8-bit weights, sums and biases in int64 */
typedef int64_t fxp_cmsis_bias;
#endif

enum { FXP_CMSIS_CONV = 0, FXP_CMSIS_DEPTHWISE = 1, FXP_CMSIS_LINEAR = 2, FXP_CMSIS_MAXPOOL = 3 };

/* One call. All zero points are 0. A ReLU is the activation's minimum; a mean is a depthwise convolution of ones. */
typedef struct {
    int32_t kind;
    cmsis_nn_dims input, filter, output; /* as the kernel wants them */
    cmsis_nn_tile stride, padding, dilation;
    cmsis_nn_activation activation;
    const int8_t *weights;      /* (co, kh, kw, ci), depthwise (kh, kw, c), linear (out, in); NULL: none */
    const fxp_cmsis_bias *bias; /* on the grid of the sums; NULL: none */
    const int32_t *multiplier;  /* of every output channel, all the same: output = sum * multiplier * 2^(shift - 31) */
    const int32_t *shift;
} fxp_cmsis_layer;

/* Bytes of scratch that the kernels need on this core. */
int32_t fxp_cmsis_scratch_bytes(void);

/* Class of one sample of FXP_CMSIS_INPUTS raw integers (h, w, c) with FXP_CMSIS_INPUT_FRAC fractional bits: the first largest of FXP_CMSIS_OUTPUTS logits, raw integers with
 * FXP_CMSIS_LOGIT_FRAC fractional bits. -1: a kernel refused its arguments, or the scratch is too small. Not reentrant. */
int32_t fxp_cmsis_predict_raw(const fxp_cmsis_value *inputs, void *scratch, int32_t scratch_bytes,
                              fxp_cmsis_value *logits);

#if FXP_CMSIS_PIXELS
/* The same for uint8 pixels. */
int32_t fxp_cmsis_predict(const uint8_t *pixels, void *scratch, int32_t scratch_bytes, fxp_cmsis_value *logits);
#endif

/* Generated in fxp_cmsis_data.c. */
extern const fxp_cmsis_layer fxp_cmsis_layers[FXP_CMSIS_LAYERS];
#if FXP_CMSIS_PIXELS
extern const fxp_cmsis_value fxp_cmsis_input_table[256 * FXP_CMSIS_INPUT_SCALES]; /* channel by channel */
#endif

#ifdef __cplusplus
}
#endif

#endif
