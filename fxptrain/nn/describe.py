"""What a model looks like from outside: a row a layer, and the counters of every tensor.

What does not belong here: showing it (`report`, `cli`).
"""

from __future__ import annotations

from typing import Any

from fxptrain.fixed.format import FxP
from fxptrain.nn.layers.contract import Stage
from fxptrain.nn.model import Model
from fxptrain.nn.state.formats import Counts


def layer_table(model: Model) -> list[dict[str, Any]]:
    """One row a stage: shapes, formats, parameters, multiply-accumulates of a sample, bytes of the parameter state.

    Parameters
    ----------
    model : Model
        Trained or fresh.

    Returns
    -------
    list of dict
        ``layer``, ``inputs`` (each (h, w, c)), ``output`` (h, w, c), ``parameter_format``, ``momentum_format`` and
        ``output_format`` (FxP, None without parameters, the second without trained ones), ``parameters``, ``trained``
        (``yes``, ``no``, ``bias`` or ``3 of 12 channels``; None without parameters), ``macs``, ``bytes``.
    """
    rows = []
    for stage in model.stages:
        weights = stage.parameters[0].form.format if stage.parameters else None
        momentum = stage.parameters[0].momentum_form.format if stage.trains else None
        rows.append(
            {
                "layer": stage.title,
                "inputs": list(stage.in_shapes),
                "output": stage.out_shape,
                "parameter_format": weights,
                "momentum_format": momentum,
                "output_format": stage.y_form.format,
                "parameters": sum(parameter.flat.size for parameter in stage.parameters),
                "trained": trained_part(stage) if stage.parameters else None,
                "macs": stage.macs,
                "bytes": sum(array.nbytes for parameter in stage.parameters for array in parameter.arrays().values()),
            }
        )
    return rows


def trained_part(stage: Stage) -> str:
    """Which of a stage's parameters training changes: ``yes``, ``no``, ``bias`` or ``3 of 12 channels``."""
    if stage.some is not None:
        return f"{stage.some} of {stage.out_shape[2]} channels"
    return "yes" if stage.trains_weights else "bias" if stage.trains else "no"


def trained_parameters(model: Model) -> int:
    """How many parameters training changes."""
    return sum(parameter.trained_size for stage in model.stages for parameter in stage.parameters)


def random_layers(model: Model) -> list[str]:
    """A line on the layers of a fresh model that are not trained, if there are some."""
    parts = ((stage, trained_part(stage)) for stage in model.stages if stage.parameters)
    names = [
        stage.name if part == "no" else f"{stage.name} but for {part}"
        for stage, part in parts
        if part not in ("yes", "bias")
    ]
    more = ", ..." if len(names) > 4 else ""
    told = f"{', '.join(names[:4])}{more}: not trained, so the first, random weights stay. Start from a run (--from)."
    return [told] if names else []


def _row(name: str, form: FxP, counts: Counts, changes: int) -> dict[str, Any]:
    return {
        "name": name,
        "total_bits": form.total_bits,
        "frac_bits": form.frac_bits,
        "saturated": counts.saturated,
        "total": counts.total,
        "max_raw": counts.largest,
        "frac_changes": changes,
    }


def telemetry(model: Model, *, reset: bool = False) -> list[dict[str, Any]]:
    """Counters of every tensor since the last reset: saturated values, largest raw value, format changes, dead updates.

    Parameters
    ----------
    model : Model
        In training or trained.
    reset : bool
        Start counting anew.

    Returns
    -------
    list of dict
        One a tensor. Weights also report `updates` and `updates_to_zero`: updates with momentum that left a weight
        where it was.
    """
    rows = []
    for i, stage in enumerate(model.stages):
        if stage.parameters:
            form = stage.parameters[0].form
            row = _row(form.name, form.format, form.epoch, form.changes)
            row["updates"] = sum(parameter.updates for parameter in stage.parameters)
            row["updates_to_zero"] = sum(parameter.still for parameter in stage.parameters)
            rows.append(row)
        if stage.trains:
            form = stage.parameters[0].momentum_form
            rows.append(_row(form.name, form.format, form.epoch, form.changes))
        if stage.y_form is not stage.x_form:
            rows.append(_row(stage.y_form.name, stage.y_form.format, stage.y_form.epoch, stage.y_form.changes))
        if model.graph.needs_error(i):
            scale = stage.error_scale
            rows.append(_row(scale.name, FxP(scale.bits, scale.frac), scale.epoch, scale.changes))
    if reset:
        _reset(model)
    return rows


def _reset(model: Model) -> None:
    for form in model.tensor_formats():
        form.epoch, form.changes = Counts(), 0
    for stage in model.stages:
        stage.error_scale.epoch, stage.error_scale.changes = Counts(), 0
        for parameter in stage.parameters:
            parameter.still = parameter.updates = 0
