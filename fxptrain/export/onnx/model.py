"""A run as ``model.onnx``: the whole graph, what it reads and gives, and what it says of itself.

What does not belong here: the nodes of a layer (`layers`) and running the file (`check`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fxptrain import __version__
from fxptrain.export.interface import interface_of
from fxptrain.export.npz import description
from fxptrain.export.onnx.forms import QUANTIZED, form_of
from fxptrain.export.onnx.graph import Graph, Port, require
from fxptrain.export.onnx.layers import add_stage, as_integers, input_values
from fxptrain.export.source import Options, write_export
from fxptrain.nn.layers.contract import INPUT
from fxptrain.run.evaluation import Run

MODEL = "model.onnx"
LOGITS = "logits"


def reads_pixels(run: Run) -> bool:
    """Whether the graph reads pixels; else it reads raw integers, which the user quantizes."""
    return interface_of(run).pixels


def build(run: Run) -> tuple[Graph, Port, Port, list[dict[str, str]]]:
    """Graph, input, output, and the form that each layer got."""
    model, g = run.model, Graph()
    pixels = reads_pixels(run)
    x = Port(
        "pixels" if pixels else "raw", np.uint8 if pixels else model.input_form.format.dtype, model.spec.input_shape
    )
    as_bytes = form_of(model, model.stages[0]) == QUANTIZED
    tables = interface_of(run).table(model) if pixels else None
    values = {INPUT: input_values(g, x.name, tables, model.spec.input_shape, as_bytes)}
    forms = []
    for i, stage in enumerate(model.stages):
        values[i], form = add_stage(g, model, stage, [values[tensor] for tensor in stage.inputs])
        forms.append({"layer": stage.name, "form": form})
    g.scope = "output"
    outputs = model.stages[-1].out_elements
    g.add("Reshape", as_integers(g, values[len(model.stages) - 1]), g.numbers(0, outputs), output=LOGITS)
    return g, x, Port(LOGITS, np.int32, (outputs,)), forms


def metadata(run: Run, x: Port, forms: list[dict[str, str]]) -> dict[str, str]:
    """What the file says of itself: version, input, output, formats and forms of the layers, as text and JSON."""
    pixels = "uint8 pixels (n, h, w, c)"
    form = run.model.input_form.format
    raw = f"raw integers (n, h, w, c) of {form}: rint((x - mean) / std * 2^{form.frac_bits}), saturated"
    frac = run.model.stages[-1].y_form.format.frac_bits
    return {
        "fxptrain_version": __version__,
        "input": f"{x.name}: {pixels if reads_pixels(run) else raw}",
        "output": f"{LOGITS}: raw integers, real = raw * 2^{-frac}",
        "output_frac_bits": str(frac),
        "weights_sha256": run.model.weights_sha256(),
        "description": json.dumps(description(run), sort_keys=True),
        "forms": json.dumps(forms),
    }


def export_onnx(run: Run, directory: Path, options: Options) -> dict[str, Any]:
    """Write ``model.onnx``; ``forms`` of the result says how each layer is computed.

    Raises
    ------
    FxptrainError
        If the extra is missing, a sum cannot be proved exact, or the directory cannot be used.
    """
    require("onnx")
    graph, x, y, forms = build(run)
    data = graph.serialize(run.recipe.name, x, y, metadata(run, x, forms))
    files = write_export(run, options, directory, {MODEL: data})
    stages = run.model.stages
    parameters = sum(p.flat.size for stage in stages for p in stage.parameters)
    sizes = {"macs": sum(stage.macs for stage in stages), "parameters": parameters, "data_bytes": {MODEL: len(data)}}
    return {"files": files, "sizes": sizes, "forms": forms}
