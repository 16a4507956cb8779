"""A model that starts from another one's integers: formats and weights taken over, the momentum at zero.

What does not belong here: whether two models may do that, and what is said about it (`run.start`).
"""

from __future__ import annotations

from fxptrain.nn.graph import Graph
from fxptrain.nn.model import Model


def take_over(model: Model, source: Model, *, head: bool, scales: bool) -> int:
    """Give a fresh model the formats and weights of another one of the same layers.

    Parameters
    ----------
    model : Model
        As `Model.build` makes it; changed.
    source : Model
        Whose layers are the same, but for the options of the last one with parameters.
    head : bool
        Whether that layer is taken over, too; else it, and what reads it, stays as it was built.
    scales : bool
        Whether the scales of errors and the formats of the momentum are; else the first batch sets them.

    Returns
    -------
    int
        How many weights saturated.

    Notes
    -----
    Formats that may move get the range of the other's in bits of their own. Weights move onto their grid, exactly or
    rounded half to even: one rounding, none where the formats are the same. Where a share of a layer's channels is
    trained, the weights as they are then tell which.
    """
    last = max(i for i, stage in enumerate(model.stages) if stage.parameters)
    anew = set() if head else reading(model.graph, last)
    narrower = model.formats.activation_bits < source.formats.activation_bits
    saturated = 0
    for i, (stage, other) in enumerate(zip(model.stages, source.stages, strict=True)):
        stage.follow_input()
        if i in anew:
            continue
        for parameter, theirs in zip(stage.parameters, other.parameters, strict=True):
            if parameter is stage.parameters[0]:  # weights and bias share their formats
                parameter.form.follow(theirs.form.format)
                momentum, given = parameter.momentum_form, model.formats.momentum_frac
                if given == "param":
                    momentum.format = momentum.format.with_frac(parameter.form.format.frac_bits)
                elif given is None and scales:
                    momentum.format = momentum.format.with_frac(theirs.momentum_form.format.frac_bits)
            saturated += parameter.take_over(theirs)
        if stage.rounds:
            stage.y_form.follow(other.y_form.format)
            if narrower and stage.finest_output is not None and stage.y_form.adaptive:
                finest = min(stage.y_form.format.frac_bits, stage.finest_output)
                stage.y_form.format = stage.y_form.format.with_frac(max(finest, stage.y_form.min_frac))
    model.choose_channels()
    if scales:
        for stage, other in zip(model.stages, source.stages, strict=True):
            stage.error_scale.frac = other.error_scale.frac
        model.calibrated = source.calibrated
    return saturated


def reading(graph: Graph, stage: int) -> set[int]:
    """A stage and all whose values depend on it."""
    found = {stage}
    for i in range(stage + 1, len(graph.stages)):
        if found & set(graph.stages[i].inputs):
            found.add(i)
    return found
