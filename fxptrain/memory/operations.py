"""How often a training step rounds: the paper's Table 3 and this engine's own counts."""

from __future__ import annotations

from typing import Any

from fxptrain.nn.describe import trained_parameters
from fxptrain.nn.layers.contract import Stage
from fxptrain.nn.model import Model

PAPER_MODEL = "gupta_cnn"
PAPER_PARAMETER_COUNT = 184_586
CONTRADICTION = (
    f"The paper's Table 3 says {PAPER_PARAMETER_COUNT:,} parameter roundings: it counts 96 biases of the convolutions "
    "that its Table 1 does not have. With Table 1's parameters the factor at batch 1024 is 9.07."
)


def _outputs(stage: Stage) -> int:
    """Outputs of a parametric stage before pooling: one rounding each in the paper."""
    weights = stage.parameters[0].values
    channels = weights.shape[-1]
    return int(stage.macs // (weights.size // channels))


def rounding_counts(model: Model, batch: int) -> dict[str, Any]:
    """Rounding operations by the paper's count and by the engine's.

    The paper counts one rounding for every output of a parametric layer and sample, and one for every parameter: SQPU
    rounds it once an update, STE whenever it is read, that is for every sample. The engine pools before it rounds,
    rounds the errors too, and rounds momentum and parameter once each an update.

    Returns
    -------
    dict
        ``paper``: counts a sample at this batch size, and STE's over SQPU's; ``engine``: counts a step.
    """
    parametric = [stage for stage in model.stages if stage.parameters]
    outputs = sum(_outputs(stage) for stage in parametric)
    parameters = trained_parameters(model)
    forward = sum(stage.out_elements for stage in model.stages if stage.y_form is not stage.x_form)
    needed = (stage for i, stage in enumerate(model.stages) if model.graph.needs_error(i))
    errors = sum(stage.out_elements for stage in needed)  # of every tensor once, however many read it
    ste = parameters if model.rule.master else 0
    return {
        "batch_size": batch,
        "paper": {
            "inference_per_sample": outputs,
            "parameters": parameters,
            "sqpu_per_sample": (outputs * batch + parameters) / batch,
            "ste_per_sample": outputs + parameters,
            "ste_over_sqpu": (outputs + parameters) * batch / (outputs * batch + parameters),
        },
        "engine": {
            "forward": forward * batch,
            "errors": errors * batch,
            "momentum": parameters,
            "parameters": parameters,
            "working_weights": ste,
            "total": (forward + errors) * batch + 2 * parameters + ste,
        },
        "note": CONTRADICTION if model.spec.name == PAPER_MODEL else None,
    }
