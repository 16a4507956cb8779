/* Losses in integers: the error that starts the backward pass, and the loss value. Twin of kernels/loss.py. */
#ifndef FXP_LOSS_H
#define FXP_LOSS_H

#include "fxp.h"
#include "fxp_stage.h"

#if FXP_TRAINING

/* Fractional bits of probabilities; the loss's error is rounded from those, or from outputs, times a class's weight. */
#define FXP_PROBABILITY_FRAC 30

extern FXP_ROM int32_t fxp_exp2[257]; /* 2^(-k/256) with 30 fractional bits; generated */
extern FXP_ROM int32_t fxp_log2[257]; /* log2(1 + k/256) with 16 fractional bits; generated */
#if FXP_WEIGHT_FRAC > 0
extern FXP_ROM int32_t fxp_class_weights[FXP_OUTPUTS]; /* with FXP_WEIGHT_FRAC fractional bits; generated */
#endif

/* Sums (FXP_OUTPUTS) of one sample's error from its logits with `frac` fractional bits; returns the loss with 16. */
int64_t fxp_loss_sums(const fxp_value *logits, int32_t frac, fxp_goal goal, int64_t *sums);

/* Whether a sample can have this goal: FXP_OK, or what it is refused with. */
fxp_status fxp_goal_status(fxp_goal goal);

/* Goal of sample `n` of some that lie one behind the other. */
fxp_goal fxp_goal_at(const fxp_goal_item *goals, int32_t n);

/* Keep the goal of sample `n` of the batch, whose inputs are loaded. */
void fxp_goal_keep(fxp_model *model, int32_t n, fxp_goal goal);

/* 1 if the first largest of the logits is the class that was wanted, or those above 0 are the labels that were; of other
 * vectors none is right. */
int32_t fxp_is_right(const fxp_value *logits, fxp_goal goal);

/* The first largest of the logits. */
int32_t fxp_first_largest(const fxp_value *logits);

#else

int32_t fxp_first_largest(const fxp_value *logits);

#endif

#endif
