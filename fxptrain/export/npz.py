"""``--to npz``: integers and formats for other tools, one file that NumPy reads without this package.

What does not belong here: checkpoints to go on training from (`checkpoint`).
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.export.c99 import network_of, sizes
from fxptrain.export.interface import interface_of
from fxptrain.export.plan import plan
from fxptrain.export.source import Options, write_export
from fxptrain.nn.describe import layer_table
from fxptrain.run.evaluation import Run

EPOCH = (1980, 1, 1, 0, 0, 0)  # the time of every entry: the same run makes the same bytes


def description(run: Run) -> dict[str, Any]:
    """Layers, formats and the input's scale as plain values: ``real = raw * 2**-frac_bits``."""
    layers = []
    for stage, row in zip(run.model.stages, layer_table(run.model), strict=True):
        formats = {"output": row["output_format"], "parameters": row["parameter_format"]}
        layers.append(
            {
                "layer": stage.layer,
                "name": row["layer"],
                "input_shapes": row["inputs"],
                "output_shape": row["output"],
                "formats": {k: None if f is None else [f.total_bits, f.frac_bits] for k, f in formats.items()},
            }
        )
    form = run.model.input_form.format
    norms = run.inputs.norms
    scale = {
        "mean": [norm.mean for norm in norms],
        "std": [norm.std for norm in norms],
        "integers": run.inputs.values(),
    }
    about = {"recipe": run.recipe.name, "classes": list(run.classes), "step": run.model.step}
    about |= {"data": run.signature.values(), "input_format": [form.total_bits, form.frac_bits]}
    return about | {"input_scale": scale, "layers": layers}


def arrays_of(run: Run) -> dict[str, npt.NDArray[Any]]:
    """The arrays: ``<layer>.weights``, ``<layer>.bias``, the pixels' table if any, the description as JSON bytes."""
    found: dict[str, npt.NDArray[Any]] = {
        f"{stage.layer}.{parameter.name}": parameter.values
        for stage in run.model.stages
        for parameter in stage.parameters
    }
    text = json.dumps(description(run) | {"model": run.recipe.table()["model"]}, sort_keys=True).encode()
    interface = interface_of(run)
    if interface.pixels:
        found["input_table"] = np.squeeze(interface.table(run.model))
    return found | {"description": np.frombuffer(text, np.uint8)}


def export_npz(run: Run, directory: Path, options: Options) -> dict[str, Any]:
    """Write ``model.npz``; weights are (kh, kw, ci, co), (kh, kw, c) or (in, out)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, values in arrays_of(run).items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.ascontiguousarray(values, values.dtype.newbyteorder("<")))
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", EPOCH), entry.getvalue())
    net = network_of(run, options, "The NPZ file")
    files = write_export(run, options, directory, {"model.npz": packed.getvalue()})
    return {"files": files, "sizes": sizes(net, plan(net))}
