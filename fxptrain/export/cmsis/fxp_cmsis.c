#include "fxp_cmsis.h"

#include <stddef.h>

#if defined(__ARM_FEATURE_MVE) && (FXP_CMSIS_BITS == 8)
#include "arm_nnsupportfunctions.h"
#define FXP_CMSIS_SUMS 1 /* the vectors' arm_fully_connected_s8 begins with sums of weights times its offset, and biases */
#else
#define FXP_CMSIS_SUMS 0
#endif

#if FXP_CMSIS_BITS == 8
#define KERNEL(name) arm_##name##_s8
#define SIZE_OF(name) arm_##name##_s8_get_buffer_size
#else
#define KERNEL(name) arm_##name##_s16
#define SIZE_OF(name) arm_##name##_s16_get_buffer_size
#endif

static fxp_cmsis_value maps[2][FXP_CMSIS_BUFFER]; /* the input and the output of a layer, in turn */

static cmsis_nn_conv_params conv_params(const fxp_cmsis_layer *layer)
{
    cmsis_nn_conv_params params;
    params.input_offset = 0;
    params.output_offset = 0;
    params.stride = layer->stride;
    params.padding = layer->padding;
    params.dilation = layer->dilation;
    params.activation = layer->activation;
    return params;
}

static cmsis_nn_dw_conv_params depthwise_params(const fxp_cmsis_layer *layer)
{
    cmsis_nn_dw_conv_params params;
    params.input_offset = 0;
    params.output_offset = 0;
    params.ch_mult = 1;
    params.stride = layer->stride;
    params.padding = layer->padding;
    params.dilation = layer->dilation;
    params.activation = layer->activation;
    return params;
}

static cmsis_nn_dims bias_dims(const fxp_cmsis_layer *layer)
{
    cmsis_nn_dims dims = {1, 1, 1, 0};
    dims.c = layer->output.c;
    return dims;
}

/* CMSIS-NN's parameters are pointers to what it only reads. */
static cmsis_nn_per_channel_quant_params quantization(const fxp_cmsis_layer *layer)
{
    cmsis_nn_per_channel_quant_params params;
    params.multiplier = (int32_t *)(uintptr_t)layer->multiplier;
    params.shift = (int32_t *)(uintptr_t)layer->shift;
    return params;
}

static arm_cmsis_nn_status convolve(const cmsis_nn_context *context, const fxp_cmsis_layer *layer,
                                    const fxp_cmsis_value *x, fxp_cmsis_value *y)
{
    const cmsis_nn_conv_params params = conv_params(layer);
    const cmsis_nn_per_channel_quant_params scale = quantization(layer);
    const cmsis_nn_dims dims = bias_dims(layer);
#if FXP_CMSIS_BITS == 8
    const fxp_cmsis_bias *bias = layer->bias;
#else
    const cmsis_nn_bias_data wide = {layer->bias, 0};
    const cmsis_nn_bias_data *bias = &wide;
#endif
    return KERNEL(convolve_wrapper)(context, &params, &scale, &layer->input, x, &layer->filter, layer->weights, &dims,
                                    bias, &layer->output, y);
}

static arm_cmsis_nn_status convolve_depthwise(const cmsis_nn_context *context, const fxp_cmsis_layer *layer,
                                              const fxp_cmsis_value *x, fxp_cmsis_value *y)
{
    const cmsis_nn_dw_conv_params params = depthwise_params(layer);
    const cmsis_nn_per_channel_quant_params scale = quantization(layer);
    const cmsis_nn_dims dims = bias_dims(layer);
    return KERNEL(depthwise_conv_wrapper)(context, &params, &scale, &layer->input, x, &layer->filter, layer->weights,
                                          &dims, layer->bias, &layer->output, y);
}

static arm_cmsis_nn_status connect(const cmsis_nn_context *context, const fxp_cmsis_layer *layer,
                                   const fxp_cmsis_value *x, fxp_cmsis_value *y)
{
    const cmsis_nn_dims dims = bias_dims(layer);
    cmsis_nn_per_tensor_quant_params scale;
    cmsis_nn_fc_params params;
    params.input_offset = 0;
    params.filter_offset = 0;
    params.output_offset = 0;
    params.activation = layer->activation;
    scale.multiplier = layer->multiplier[0];
    scale.shift = layer->shift[0];
#if FXP_CMSIS_SUMS
    (void)arm_vector_sum_s8((int32_t *)context->buf, layer->filter.n, layer->output.c, layer->weights, 0, 0, layer->bias);
#endif
    return KERNEL(fully_connected)(context, &params, &scale, &layer->input, x, &layer->filter, layer->weights, &dims,
                                   layer->bias, &layer->output, y);
}

static arm_cmsis_nn_status pool(const cmsis_nn_context *context, const fxp_cmsis_layer *layer, const fxp_cmsis_value *x,
                                fxp_cmsis_value *y)
{
    cmsis_nn_pool_params params;
    params.stride = layer->stride;
    params.padding = layer->padding;
    params.activation = layer->activation;
    return KERNEL(max_pool)(context, &params, &layer->input, x, &layer->filter, &layer->output, y);
}

static arm_cmsis_nn_status run(const cmsis_nn_context *context, const fxp_cmsis_layer *layer, const fxp_cmsis_value *x,
                               fxp_cmsis_value *y)
{
    switch (layer->kind) {
    case FXP_CMSIS_CONV:
        return convolve(context, layer, x, y);
    case FXP_CMSIS_DEPTHWISE:
        return convolve_depthwise(context, layer, x, y);
    case FXP_CMSIS_LINEAR:
        return connect(context, layer, x, y);
    default:
        return pool(context, layer, x, y);
    }
}

int32_t fxp_cmsis_scratch_bytes(void)
{
    int32_t i, most = 8;
    for (i = 0; i < FXP_CMSIS_LAYERS; i++) {
        const fxp_cmsis_layer *layer = &fxp_cmsis_layers[i];
        int32_t size = 0;
        if (layer->kind == FXP_CMSIS_CONV) {
            const cmsis_nn_conv_params params = conv_params(layer);
            size = SIZE_OF(convolve_wrapper)(&params, &layer->input, &layer->filter, &layer->output);
        } else if (layer->kind == FXP_CMSIS_DEPTHWISE) {
            const cmsis_nn_dw_conv_params params = depthwise_params(layer);
            size = SIZE_OF(depthwise_conv_wrapper)(&params, &layer->input, &layer->filter, &layer->output);
        } else if (layer->kind == FXP_CMSIS_LINEAR) {
            size = SIZE_OF(fully_connected)(&layer->filter);
        }
        most = (size > most) ? size : most;
    }
    return most;
}

/* From the first map to the logits. */
static int32_t predict(void *scratch, int32_t scratch_bytes, fxp_cmsis_value *logits)
{
    cmsis_nn_context context;
    int32_t i, best = 0;
    context.buf = scratch;
    context.size = scratch_bytes;
    if (scratch_bytes < fxp_cmsis_scratch_bytes()) {
        return -1;
    }
    for (i = 0; i < FXP_CMSIS_LAYERS; i++) {
        if (run(&context, &fxp_cmsis_layers[i], maps[i % 2], maps[(i + 1) % 2]) != ARM_CMSIS_NN_SUCCESS) {
            return -1;
        }
    }
    for (i = 0; i < FXP_CMSIS_OUTPUTS; i++) {
        logits[i] = maps[FXP_CMSIS_LAYERS % 2][i];
        best = (logits[i] > logits[best]) ? i : best;
    }
    return best;
}

#if FXP_CMSIS_PIXELS

int32_t fxp_cmsis_predict(const uint8_t *pixels, void *scratch, int32_t scratch_bytes, fxp_cmsis_value *logits)
{
    int32_t i;
    for (i = 0; i < FXP_CMSIS_INPUTS; i++) {
        maps[0][i] = fxp_cmsis_input_table[256 * (i % FXP_CMSIS_INPUT_SCALES) + pixels[i]];
    }
    return predict(scratch, scratch_bytes, logits);
}

#endif

int32_t fxp_cmsis_predict_raw(const fxp_cmsis_value *inputs, void *scratch, int32_t scratch_bytes,
                              fxp_cmsis_value *logits)
{
    int32_t i;
    for (i = 0; i < FXP_CMSIS_INPUTS; i++) {
        maps[0][i] = inputs[i];
    }
    return predict(scratch, scratch_bytes, logits);
}
