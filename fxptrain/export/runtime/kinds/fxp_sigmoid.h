/* Sigmoid, and tanh where `mean.shift` is 1. Twin of kernels/curves.py. */
#ifndef FXP_SIGMOID_H
#define FXP_SIGMOID_H

#include "fxp_stage.h"

/* The sigmoid of u, on the curves' grid: cubic between values at every sixteenth. */
int64_t fxp_sigmoid_at(int64_t u);

fxp_fracs fxp_sigmoid_fracs(const fxp_model *model, const fxp_stage *stage);

/* Every value by itself, one requantization, of one sample. */
void fxp_sigmoid_forward(const fxp_forward *pass);

#if FXP_TRAINING
/* Add one sample's error, times the slopes at its inputs, to sums. */
void fxp_sigmoid_input_error(const fxp_backward *pass, fxp_error_sum *sums);
#endif

#endif
