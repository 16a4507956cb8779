/* The way back with RISC-V's vectors: as many sums at a time as there are lanes. fxp_dot.h says what each function does. */
#include "fxp_dot.h"

#if FXP_RVV_BACK

#include "fxp_rvv.h"

#if FXP_PARAM_BITS <= 8
#define LOAD_WEIGHTS FXP_LOAD_BYTES
#else
#define LOAD_WEIGHTS FXP_LOAD_HALVES
#endif

#if FXP_VALUE_BITS <= 8
#define LOAD_INPUTS FXP_LOAD_BYTES
#else
#define LOAD_INPUTS FXP_LOAD_HALVES
#endif

#if FXP_ERROR_SUM_BITS == 32
#define OF_ERRORS(name) name##_32
#else
#define OF_ERRORS(name) name##_64
#endif

#if FXP_GRADIENT_SUM_BITS == 32
#define OF_GRADIENTS(name) name##_32
#else
#define OF_GRADIENTS(name) name##_64
#endif

void fxp_add_weights(fxp_error_sum *sums, const fxp_param *w, fxp_error error, int32_t count)
{
    int32_t i;
    size_t lanes;
    for (i = 0; i < count; i += (int32_t)lanes) {
        OF_ERRORS(fxp_lanes) some;
        lanes = FXP_RVV_LANES(count - i);
        some = OF_ERRORS(fxp_load_lanes)(sums + i, lanes);
        some = OF_ERRORS(fxp_add_lanes)(some, LOAD_WEIGHTS(w + i, lanes), error, lanes);
        OF_ERRORS(fxp_store_lanes)(sums + i, some, lanes);
    }
}

void fxp_add_inputs(fxp_gradient_sum *sums, const fxp_value *x, fxp_error error, int32_t count)
{
    int32_t i;
    size_t lanes;
    for (i = 0; i < count; i += (int32_t)lanes) {
        OF_GRADIENTS(fxp_lanes) some;
        lanes = FXP_RVV_LANES(count - i);
        some = OF_GRADIENTS(fxp_load_lanes)(sums + i, lanes);
        some = OF_GRADIENTS(fxp_add_lanes)(some, LOAD_INPUTS(x + i, lanes), error, lanes);
        OF_GRADIENTS(fxp_store_lanes)(sums + i, some, lanes);
    }
}

void fxp_add_channels(fxp_error_sum *sums, const fxp_channels *from, int32_t at, int32_t count)
{
    int32_t i, j;
    size_t lanes;
    for (i = 0; i < count; i += (int32_t)lanes) {
        OF_ERRORS(fxp_lanes) some;
        lanes = FXP_RVV_LANES(count - i);
        some = OF_ERRORS(fxp_load_lanes)(sums + i, lanes);
        for (j = 0; j < from->count; j++) {
            some = OF_ERRORS(fxp_add_lanes)(some, LOAD_WEIGHTS(from->w[j] + at + i, lanes), from->of[j], lanes);
        }
        OF_ERRORS(fxp_store_lanes)(sums + i, some, lanes);
    }
}

void fxp_add_positions(fxp_gradient_sum *sums, const fxp_positions *from, int32_t at, int32_t count)
{
    int32_t i, j;
    size_t lanes;
    for (i = 0; i < count; i += (int32_t)lanes) {
        OF_GRADIENTS(fxp_lanes) some;
        lanes = FXP_RVV_LANES(count - i);
        some = OF_GRADIENTS(fxp_load_lanes)(sums + i, lanes);
        for (j = 0; j < from->count; j++) {
            some = OF_GRADIENTS(fxp_add_lanes)(some, LOAD_INPUTS(from->x[j] + at + i, lanes), from->of[j], lanes);
        }
        OF_GRADIENTS(fxp_store_lanes)(sums + i, some, lanes);
    }
}

#endif
