/* What training did: loss and answers of labelled samples, and how tensors use their formats. */
#include "fxp.h"
#include "fxp_loss.h"
#include "fxp_model.h"

#if FXP_TRAINING

static fxp_result score(fxp_model *model, fxp_inputs inputs, fxp_goal goal)
{
    fxp_result result = {0, 0, 0, 0, 0, FXP_OK};
    const fxp_value *logits;
    if (!fxp_ready(model)) {
        result.status = FXP_NOT_READY;
    } else if (!fxp_are_inputs(inputs, 1)) {
        result.status = FXP_BAD_ARGUMENT;
    } else if (model->pending >= FXP_BATCH) {
        result.status = FXP_FULL;
    } else {
        result.status = fxp_goal_status(goal);
    }
    if (result.status == FXP_OK) {
        int64_t *sums = (int64_t *)(void *)(model->arena + FXP_LOSS_AT);
        fxp_load_input(model, inputs, 0, model->pending);
        fxp_goal_keep(model, model->pending, goal);
        goal = fxp_goal_at(model->goals, model->pending);
        logits = fxp_logits_of(model, inputs);
        result.loss_sum = fxp_loss_sums(logits, fxp_logit_frac(model), goal, sums);
        result.correct = fxp_is_right(logits, goal);
        result.samples = 1;
    }
    return result;
}

fxp_result fxp_score(fxp_model *model, const fxp_input *inputs, fxp_goal goal)
{
    return score(model, fxp_given(inputs), goal);
}

fxp_result fxp_score_raw(fxp_model *model, const fxp_value *inputs, fxp_goal goal)
{
    return score(model, fxp_raw(inputs), goal);
}

fxp_status fxp_usage_of(const fxp_model *model, int32_t stage, int32_t tensor, fxp_usage *usage)
{
    int32_t row;
    if (!fxp_ready(model)) {
        return FXP_NOT_READY;
    }
    if ((usage == NULL) || (stage < 0) || (stage >= FXP_STAGES) || (tensor < FXP_OF_OUTPUTS) || (tensor > FXP_OF_MOMENTUM)) {
        return FXP_BAD_ARGUMENT;
    }
    row = fxp_tensors[stage + 1].form;
    if (tensor != FXP_OF_OUTPUTS) {
        const fxp_stage *s = &fxp_stages[stage];
        const int32_t learns = fxp_trains_weights(s) || fxp_trains_bias(s);
        if ((s->w_form < 0) || ((tensor == FXP_OF_MOMENTUM) && !learns)) {
            return FXP_NOTHING;
        }
        row = s->w_form + ((tensor == FXP_OF_MOMENTUM) ? 1 : 0);
    }
    usage->bits = fxp_form_starts[row].bits;
    usage->frac = model->forms[row].frac;
    usage->largest = model->forms[row].largest;
    usage->saturated = model->forms[row].saturated;
    usage->total = model->forms[row].total;
    return FXP_OK;
}

uint32_t fxp_steps(const fxp_model *model)
{
    return fxp_ready(model) ? model->step : 0u;
}

#endif
