/* One family of kernels, included once with BITS 8 and once with 16; VALUE, BIAS and `rescale` are the family's. */

#define JOIN(a, bits, b) a##bits##b
#define NAMED(a, bits, b) JOIN(a, bits, b)
#define FUNCTION(name) NAMED(arm_##name##_s, BITS, )
#define SIZE(name) NAMED(arm_##name##_s, BITS, _get_buffer_size)
#define INNER(name) NAMED(name, BITS, )

/* Sum of one output (oh, ow, c): `step` and `from` tell a depthwise kernel's place of its weights and inputs. */
static int64_t INNER(sum_)(const VALUE *x, const cmsis_nn_dims *in, const int8_t *w, const cmsis_nn_dims *seen,
                           const cmsis_nn_tile *stride, const cmsis_nn_tile *pad, const cmsis_nn_tile *apart,
                           int32_t oh, int32_t ow, int32_t c, int32_t depthwise)
{
    int64_t sum = 0;
    int32_t kh, kw, ci;
    for (kh = 0; kh < seen->h; kh++) {
        for (kw = 0; kw < seen->w; kw++) {
            const int32_t h = oh * stride->h - pad->h + kh * apart->h, at = ow * stride->w - pad->w + kw * apart->w;
            if ((h < 0) || (h >= in->h) || (at < 0) || (at >= in->w)) {
                continue;
            }
            for (ci = depthwise ? c : 0; ci < (depthwise ? (c + 1) : in->c); ci++) {
                const int32_t weight = depthwise ? ((kh * seen->w + kw) * seen->c + c)
                                                 : (((c * seen->h + kh) * seen->w + kw) * seen->c + ci);
                sum += (int64_t)x[(h * in->w + at) * in->c + ci] * w[weight];
            }
        }
    }
    return sum;
}

static void INNER(convolve_)(const VALUE *x, const cmsis_nn_dims *in, const int8_t *w, const cmsis_nn_dims *seen,
                             const BIAS *bias, const cmsis_nn_tile *stride, const cmsis_nn_tile *pad,
                             const cmsis_nn_tile *apart,
                             const int32_t *multiplier, const int32_t *shift, const cmsis_nn_activation *limits,
                             const cmsis_nn_dims *out, VALUE *y, int32_t depthwise)
{
    int32_t oh, ow, c;
    for (oh = 0; oh < out->h; oh++) {
        for (ow = 0; ow < out->w; ow++) {
            for (c = 0; c < out->c; c++) {
                int64_t sum = INNER(sum_)(x, in, w, seen, stride, pad, apart, oh, ow, c, depthwise);
                sum += (bias == NULL) ? 0 : bias[c];
                *y++ = (VALUE)limited(INNER(rescale_)(sum, multiplier[c], shift[c]), limits);
            }
        }
    }
}

arm_cmsis_nn_status FUNCTION(convolve_wrapper)(const cmsis_nn_context *context, const cmsis_nn_conv_params *params,
                                               const cmsis_nn_per_channel_quant_params *scale, const cmsis_nn_dims *in,
                                               const VALUE *x, const cmsis_nn_dims *seen, const int8_t *w,
                                               const cmsis_nn_dims *bias_dims, const WIDE_BIAS *bias,
                                               const cmsis_nn_dims *out, VALUE *y)
{
    (void)bias_dims;
    if ((context->buf == NULL) || (seen->n != out->c) || (seen->c != in->c)) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    INNER(convolve_)(x, in, w, seen, BIAS_OF(bias), &params->stride, &params->padding, &params->dilation, scale->multiplier, scale->shift,
                     &params->activation, out, y, 0);
    return ARM_CMSIS_NN_SUCCESS;
}

arm_cmsis_nn_status FUNCTION(depthwise_conv_wrapper)(const cmsis_nn_context *context,
                                                     const cmsis_nn_dw_conv_params *params,
                                                     const cmsis_nn_per_channel_quant_params *scale,
                                                     const cmsis_nn_dims *in, const VALUE *x, const cmsis_nn_dims *seen,
                                                     const int8_t *w, const cmsis_nn_dims *bias_dims, const BIAS *bias,
                                                     const cmsis_nn_dims *out, VALUE *y)
{
    (void)context;
    (void)bias_dims;
    if ((params->ch_mult != 1) || (in->c != out->c) || (seen->c != out->c)) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    INNER(convolve_)(x, in, w, seen, bias, &params->stride, &params->padding, &params->dilation, scale->multiplier, scale->shift,
                     &params->activation, out, y, 1);
    return ARM_CMSIS_NN_SUCCESS;
}

arm_cmsis_nn_status FUNCTION(fully_connected)(const cmsis_nn_context *context, const cmsis_nn_fc_params *params,
                                              const cmsis_nn_per_tensor_quant_params *scale, const cmsis_nn_dims *in,
                                              const VALUE *x, const cmsis_nn_dims *seen, const int8_t *w,
                                              const cmsis_nn_dims *bias_dims, const BIAS *bias,
                                              const cmsis_nn_dims *out, VALUE *y)
{
    int32_t c, k;
    (void)context;
    (void)bias_dims;
    if ((in->n != 1) || (seen->n != in->h * in->w * in->c)) {
        return ARM_CMSIS_NN_ARG_ERROR;
    }
    for (c = 0; c < out->c; c++) {
        int64_t sum = (bias == NULL) ? 0 : bias[c];
        for (k = 0; k < seen->n; k++) {
            sum += (int64_t)x[k] * w[c * seen->n + k];
        }
        y[c] = (VALUE)limited(INNER(rescale_)(sum, scale->multiplier, scale->shift), &params->activation);
    }
    return ARM_CMSIS_NN_SUCCESS;
}

arm_cmsis_nn_status FUNCTION(max_pool)(const cmsis_nn_context *context, const cmsis_nn_pool_params *params,
                                       const cmsis_nn_dims *in, const VALUE *x, const cmsis_nn_dims *seen,
                                       const cmsis_nn_dims *out, VALUE *y)
{
    int32_t oh, ow, c, t;
    (void)context;
    for (oh = 0; oh < out->h; oh++) {
        for (ow = 0; ow < out->w; ow++) {
            for (c = 0; c < in->c; c++) {
                int64_t best = INT64_MIN;
                for (t = 0; t < seen->h * seen->w; t++) {
                    const int32_t h = oh * params->stride.h + t / seen->w, w = ow * params->stride.w + t % seen->w;
                    const VALUE value = x[(h * in->w + w) * in->c + c];
                    best = (value > best) ? value : best;
                }
                *y++ = (VALUE)limited(best, &params->activation);
            }
        }
    }
    return ARM_CMSIS_NN_SUCCESS;
}

int32_t SIZE(convolve_wrapper)(const cmsis_nn_conv_params *params, const cmsis_nn_dims *in, const cmsis_nn_dims *seen,
                               const cmsis_nn_dims *out)
{
    (void)params;
    (void)in;
    (void)out;
    return 2 * seen->h * seen->w * seen->c;
}

int32_t SIZE(depthwise_conv_wrapper)(const cmsis_nn_dw_conv_params *params, const cmsis_nn_dims *in,
                                     const cmsis_nn_dims *seen, const cmsis_nn_dims *out)
{
    (void)params;
    (void)in;
    (void)seen;
    (void)out;
    return 0;
}

int32_t SIZE(fully_connected)(const cmsis_nn_dims *seen)
{
    (void)seen;
    return 0;
}

#undef JOIN
#undef NAMED
#undef FUNCTION
#undef SIZE
#undef INNER
