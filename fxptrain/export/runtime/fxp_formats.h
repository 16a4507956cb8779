/* Formats that live through training: counters, adaptation, delayed scales of errors. Twin of nn/formats.py. */
#ifndef FXP_FORMATS_H
#define FXP_FORMATS_H

#include "fxp_types.h"

#if FXP_TRAINING

#define FXP_MAX_ERROR_FRAC 60
#define FXP_CALM_STEPS 64
#define FXP_MAX_MOMENTUM_FRAC 60

/* Count what a rounding site reported. */
void fxp_form_note(fxp_form *form, uint32_t saturated, uint32_t total, int32_t largest);

/* Adapt a format to its counters and start counting anew; 2^-saturation of the values may saturate, 0 stands for what
 * parameters have. Returns by how many bits frac changed. */
int32_t fxp_form_adapt(fxp_form *form, const fxp_form_start *start, int32_t saturation);

/* Whether far too many values of a step saturated for the format to wait until it is adapted. */
int32_t fxp_form_overran(const fxp_form_start *start, uint32_t saturated, uint32_t total);

/* Give a bit of range and start counting anew; returns by how many bits frac changed. */
int32_t fxp_form_widen(fxp_form *form, const fxp_form_start *start);

/* Change frac within the format's limits; returns by how many bits. */
int32_t fxp_form_move(fxp_form *form, const fxp_form_start *start, int32_t change);

/* The finest frac at which an absolute sum `largest` with `sum_frac` bits does not saturate an error. */
int32_t fxp_scale_fitting(uint64_t largest, int32_t sum_frac);

/* Apply the rule to the largest absolute sum of a finished step, and to how many of how many errors saturated. */
void fxp_scale_note(fxp_scale *scale, uint64_t largest, int32_t sum_frac, uint32_t saturated, uint32_t total);

/* The finest frac, at most `finest`, at which a momentum holds eight times the mean of `count` gradients whose sum is
 * at most `largest` with `frac` bits. */
int32_t fxp_momentum_fitting(uint64_t largest, int32_t frac, int32_t count, int32_t finest);

#endif

#endif
