/* A model of the functions of CMSIS-NN that an export calls: the interface of version 7 and the same integers, in plain
 * loops of our own. To check exports without CMSIS-NN; not for use on a board. */
#ifndef ARM_NNFUNCTIONS_H
#define ARM_NNFUNCTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum { ARM_CMSIS_NN_SUCCESS = 0, ARM_CMSIS_NN_ARG_ERROR = -1 } arm_cmsis_nn_status;

typedef struct {
    int32_t w, h;
} cmsis_nn_tile;

typedef struct {
    void *buf;
    int32_t size;
} cmsis_nn_context;

typedef struct {
    const void *data;
    const bool is_int32_bias;
} cmsis_nn_bias_data;

typedef struct {
    int32_t n, h, w, c;
} cmsis_nn_dims;

typedef struct {
    int32_t *multiplier;
    int32_t *shift;
} cmsis_nn_per_channel_quant_params;

typedef struct {
    int32_t multiplier;
    int32_t shift;
} cmsis_nn_per_tensor_quant_params;

typedef struct {
    int32_t min, max;
} cmsis_nn_activation;

typedef struct {
    int32_t input_offset, output_offset;
    cmsis_nn_tile stride, padding, dilation;
    cmsis_nn_activation activation;
} cmsis_nn_conv_params;

typedef struct {
    int32_t input_offset, output_offset, ch_mult;
    cmsis_nn_tile stride, padding, dilation;
    cmsis_nn_activation activation;
} cmsis_nn_dw_conv_params;

typedef struct {
    int32_t input_offset, filter_offset, output_offset;
    cmsis_nn_activation activation;
} cmsis_nn_fc_params;

typedef struct {
    cmsis_nn_tile stride, padding;
    cmsis_nn_activation activation;
} cmsis_nn_pool_params;

#define DECLARE(bits, bias_type, wide_bias_type) \
    arm_cmsis_nn_status arm_convolve_wrapper_s##bits( \
        const cmsis_nn_context *, const cmsis_nn_conv_params *, const cmsis_nn_per_channel_quant_params *, \
        const cmsis_nn_dims *, const int##bits##_t *, const cmsis_nn_dims *, const int8_t *, const cmsis_nn_dims *, \
        const wide_bias_type *, const cmsis_nn_dims *, int##bits##_t *); \
    arm_cmsis_nn_status arm_depthwise_conv_wrapper_s##bits( \
        const cmsis_nn_context *, const cmsis_nn_dw_conv_params *, const cmsis_nn_per_channel_quant_params *, \
        const cmsis_nn_dims *, const int##bits##_t *, const cmsis_nn_dims *, const int8_t *, const cmsis_nn_dims *, \
        const bias_type *, const cmsis_nn_dims *, int##bits##_t *); \
    arm_cmsis_nn_status arm_fully_connected_s##bits( \
        const cmsis_nn_context *, const cmsis_nn_fc_params *, const cmsis_nn_per_tensor_quant_params *, \
        const cmsis_nn_dims *, const int##bits##_t *, const cmsis_nn_dims *, const int8_t *, const cmsis_nn_dims *, \
        const bias_type *, const cmsis_nn_dims *, int##bits##_t *); \
    arm_cmsis_nn_status arm_max_pool_s##bits(const cmsis_nn_context *, const cmsis_nn_pool_params *, \
                                             const cmsis_nn_dims *, const int##bits##_t *, const cmsis_nn_dims *, \
                                             const cmsis_nn_dims *, int##bits##_t *); \
    int32_t arm_convolve_wrapper_s##bits##_get_buffer_size(const cmsis_nn_conv_params *, const cmsis_nn_dims *, \
                                                           const cmsis_nn_dims *, const cmsis_nn_dims *); \
    int32_t arm_depthwise_conv_wrapper_s##bits##_get_buffer_size(const cmsis_nn_dw_conv_params *, const cmsis_nn_dims *, \
                                                                 const cmsis_nn_dims *, const cmsis_nn_dims *); \
    int32_t arm_fully_connected_s##bits##_get_buffer_size(const cmsis_nn_dims *);

DECLARE(8, int32_t, int32_t)
DECLARE(16, int64_t, cmsis_nn_bias_data)
#undef DECLARE

#endif
