"""``--to cmsis-nn``: a model's integers in CMSIS-NN's layouts, the code that makes the calls, and a README.

What does not belong here: which calls (`cmsis_nn`). The code is hand-written (`cmsis/`); only numbers are generated.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.export.c99 import named, remove_older, template
from fxptrain.export.cmsis_nn import NARROW, LayerCall, calls_of, value_bits
from fxptrain.export.interface import Interface, explained, interface_of
from fxptrain.export.layers import Network
from fxptrain.export.source import Options, prepare_directory, write_export
from fxptrain.export.tables import GENERATED, array
from fxptrain.names import one_line
from fxptrain.run.evaluation import Run

SCALE_BYTES = 8  # of a channel's multiplier and shift


def code_files() -> dict[str, str]:
    """The hand-written C by file name."""
    folder = resources.files("fxptrain.export") / "cmsis"
    return {name: (folder / name).read_text(encoding="utf-8") for name in ("fxp_cmsis.h", "fxp_cmsis.c")}


def config(net: Network, calls: list[LayerCall], interface: Interface) -> str:
    """``fxp_cmsis_config.h``: sizes."""
    sizes = {
        "PIXELS": int(interface.pixels),
        "INPUT_SCALES": len(interface.means),
        "INPUT_FRAC": f"({net.value.frac_bits})",
        "BITS": value_bits(net),
        "LAYERS": len(calls),
        "INPUTS": net.layers[0].stage.in_elements,
        "OUTPUTS": net.layers[-1].stage.out_elements,
        "BUFFER": max(call.elements for call in calls),
        "LOGIT_FRAC": f"({net.layers[-1].stage.y_form.format.frac_bits})",
    }
    lines = [f"#define FXP_CMSIS_{name} {value}" for name, value in sizes.items()]
    guard = "FXP_CMSIS_CONFIG_H"
    return "\n".join([GENERATED, f"#ifndef {guard}", f"#define {guard}", "", *lines, "", "#endif", ""])


def _row(i: int, call: LayerCall) -> str:
    cells = {
        "kind": f"FXP_CMSIS_{call.kind}",
        **{name: "{{{}, {}, {}, {}}}".format(*getattr(call, name)) for name in ("input", "filter", "output")},
        "stride": f"{{{call.stride[1]}, {call.stride[0]}}}",  # a tile is width, height
        "padding": f"{{{call.padding[1]}, {call.padding[0]}}}",
        "dilation": f"{{{call.dilation[1]}, {call.dilation[0]}}}",
        "activation": f"{{{call.low}, {call.high}}}",
        "weights": "NULL" if call.weights is None else f"weights_{i}",
        "bias": "NULL" if call.bias is None else f"bias_{i}",
        "multiplier": "NULL" if call.scale is None else f"multiplier_{i}",
        "shift": "NULL" if call.scale is None else f"shift_{i}",
    }
    parts = [f".{name} = {value}" for name, value in cells.items()]
    wrapped = ",\n        ".join(", ".join(parts[at : at + 4]) for at in range(0, len(parts), 4))
    return f"    {{ /* {call.name}: {call.kernel} */\n        {wrapped}}},"


def _arrays(i: int, call: LayerCall, bias_type: str) -> list[str]:
    found: list[tuple[str, str, npt.NDArray[Any], str]] = []
    if call.weights is not None:
        found.append(("int8_t", "weights", call.weights, "weights"))
    if call.bias is not None:
        found.append((bias_type, "bias", call.bias, "bias on the grid of the sums"))
    if call.scale is not None:
        for name in ("multiplier", "shift"):
            values = np.full(call.output.c, getattr(call.scale, name), np.int64)
            found.append(("int32_t", name, values, f"{name} of every channel"))
    return [array(kind, f"{name}_{i}", values, f"{call.name}, {text}") for kind, name, values, text in found]


def data(net: Network, calls: list[LayerCall], interface: Interface) -> str:
    """``fxp_cmsis_data.c``: weights, biases, scales, the calls."""
    bias_type = "int32_t" if value_bits(net) == NARROW else "int64_t"
    parts = [GENERATED, '#include <stddef.h>\n\n#include "fxp_cmsis.h"\n']
    if interface.pixels:
        comment = f"raw input of pixels 0 to 255, channel by channel: {net.value}"
        parts.append(
            array("fxp_cmsis_value", "fxp_cmsis_input_table", interface.table(net.model), comment, static=False)
        )
    for i, call in enumerate(calls):
        parts += _arrays(i, call, bias_type)
    rows = "\n".join(_row(i, call) for i, call in enumerate(calls))
    parts.append(f"const fxp_cmsis_layer fxp_cmsis_layers[FXP_CMSIS_LAYERS] = {{\n{rows}\n}};\n")
    return "\n".join(parts)


def _sizes(net: Network, calls: list[LayerCall], interface: Interface) -> dict[str, Any]:
    each = value_bits(net) // 8
    weights = sum(call.weights.size for call in calls if call.weights is not None)
    biases = sum(call.bias.size for call in calls if call.bias is not None) * 4 * each
    scales = sum(call.output.c for call in calls if call.scale is not None) * SCALE_BYTES
    return {
        "macs": sum(layer.stage.macs for layer in net.layers),
        "parameters": sum(p.flat.size for layer in net.layers for p in layer.stage.parameters),
        "data_bytes": {
            "weights": weights,
            "biases": biases,
            "scales": scales,
            "input table": 256 * len(interface.means) * each * interface.pixels,
        },
        "arena_bytes": 2 * max(call.elements for call in calls) * each,
    }


def _line(call: LayerCall) -> str:
    scale = "" if call.scale is None else f"{call.scale.multiplier} | {call.scale.shift}"
    shapes = " | ".join(" x ".join(map(str, dims[1:])) for dims in (call.input, call.output))
    return f"| {call.name} | `{call.kernel}` | {shapes} | {scale or ' | '} | {call.low} to {call.high} |"


def readme(run: Run, net: Network, calls: list[LayerCall], sizes: dict[str, Any], interface: Interface) -> str:
    """README of an export, from its template."""
    predict = f"{interface.prefix}_cmsis_predict"
    values = {
        "name": one_line(run.recipe.name),
        "description": one_line(run.recipe.description),
        "inputs": explained(net, interface, f"{interface.prefix}_cmsis"),
        "given": "pixels" if interface.pixels else "inputs",
        "predict": predict if interface.pixels else f"{predict}_raw",
        "bits": value_bits(net),
        "calls": "\n".join(map(_line, calls)),
        "maps": f"{sizes['arena_bytes']:,}",
        "constants": f"{sum(sizes['data_bytes'].values()):,}",
        "classes": ", ".join(map(one_line, run.classes)),
    }
    return template("CMSIS_NN.md.in", interface.prefix).substitute(values)


def export_cmsis_nn(run: Run, directory: Path, options: Options) -> dict[str, Any]:
    """Write a model for CMSIS-NN.

    Raises
    ------
    FxptrainError
        If CMSIS-NN has no kernel for a layer, or the directory cannot be used.
    """
    net, interface = Network(run.model, training=False, who="The CMSIS-NN export"), interface_of(run, options.prefix)
    calls = calls_of(net)
    facts = _sizes(net, calls, interface)
    files = code_files()
    files |= {"fxp_cmsis_config.h": config(net, calls, interface), "fxp_cmsis_data.c": data(net, calls, interface)}
    files = named(files, options.prefix) | {"README.md": readme(run, net, calls, facts, interface)}
    prepare_directory(directory)
    remove_older(directory, files)
    return {"files": write_export(run, options, directory, files), "sizes": facts}
