"""``--to arduino``: the C export as an Arduino library with an example sketch that learns from built-in samples.

What does not belong here: the C itself (`c99`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fxptrain import __version__
from fxptrain.export.c99 import (
    c_files,
    network_of,
    readme,
    remove_older,
    sizes,
    template,
)
from fxptrain.export.interface import Interface, interface_of
from fxptrain.export.layers import Network
from fxptrain.export.manifests import library_name, sentence
from fxptrain.export.names import renamed
from fxptrain.export.plan import plan
from fxptrain.export.source import Options, prepare_directory, write_export
from fxptrain.export.tables import GENERATED, array
from fxptrain.export.vectors import random_vectors, real_vectors
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.run.evaluation import Run

SAMPLES = 4


def samples_header(net: Network, interface: Interface, rate: Multiplier) -> str:
    """A few built-in samples with labels for the example sketch, made by the generator of all draws."""
    count = min(SAMPLES, net.batch) if net.training else 1
    labels = np.arange(count) % net.layers[-1].stage.out_elements
    parts = [GENERATED, f'#include "{interface.prefix}.h"\n', f"#define SAMPLES {count}\n"]
    shape = f"{count} samples of {net.model.spec.input_shape}"
    if interface.pixels:
        pixels = random_vectors(net, samples=count, steps=0, seed=1, rate=rate).before
        parts.append(array("uint8_t", "sample_pixels", pixels, f"{shape}, pixels"))
    else:
        reals = real_vectors(net, interface, count, seed=1)
        parts += [f"#define SAMPLE_FRAC {reals[0].frac}\n"]
        values = np.stack([real.values for real in reals])
        parts.append(array("int32_t", "sample_values", values, f"{shape}, real numbers * 2^SAMPLE_FRAC"))
    if not net.model.loss.of_vectors:
        parts.append(array("uint16_t", "sample_labels", labels, "their classes"))
    elif net.model.spec.target != "input":
        goals = net.model.loss.stand_in(net.value, count, net.layers[-1].stage.out_elements)
        told = "all values at their mean" if net.model.spec.target == "values" else "no label"
        parts.append(array("fxp_value", "sample_goals", goals, f"what is wanted of them: {told}"))
    return "\n".join(parts)


def _reading(net: Network, interface: Interface) -> dict[str, str]:
    """How a sketch hands its samples on: pixels as they are, real numbers quantized first."""
    goals = {"class": "sample_labels[n]", "input": "NULL"}
    add = f"fxp_train_add(&model, {{}}, {goals.get(net.model.spec.target, 'sample_goals + n * FXP_OUTPUTS')});"
    if interface.pixels:
        parts = {"read": "", "samples": "sample_pixels", "add": f"    {add.format('sample_pixels + n * FXP_INPUTS')}\n"}
    else:
        quantize = "fxp_quantize_input(sample_values{}, SAMPLE_FRAC, inputs);"
        declare = "fxp_value inputs[FXP_INPUTS];"
        one = f"  {declare}\n  {quantize.format('')}\n"
        many = f"    {declare}\n    {quantize.format(' + n * FXP_INPUTS')}\n    {add.format('inputs')}\n"
        parts = {"read": one, "samples": "inputs", "add": many}
    return {name: renamed(text, interface.prefix) for name, text in parts.items()}


def export_arduino(run: Run, directory: Path, options: Options) -> dict[str, Any]:
    """Write the library: ``library.properties``, ``src/``, ``examples/``."""
    net, interface = network_of(run, options), interface_of(run, options.prefix)
    rate = Multiplier.from_real(run.recipe.schedule.lr)
    name = library_name(run, interface)
    sketch = "Train.ino.in" if options.training else "Predict.ino.in"
    example = sketch.removesuffix(".ino.in")
    facts = sizes(net, plan(net), interface)
    sources = c_files(net, rate, interface)
    if name != interface.prefix:
        sources[f"{name}.h"] = f'{GENERATED}#include "{interface.prefix}.h"\n'
    files = {f"src/{file}": text for file, text in sources.items()}
    values = {"name": name, "version": __version__, "description": sentence(run)}
    files["library.properties"] = template("library.properties.in", interface.prefix).substitute(values)
    reading = {"header": name} | _reading(net, interface)
    files[f"examples/{example}/{example}.ino"] = template(sketch, interface.prefix).substitute(reading)
    files[f"examples/{example}/samples.h"] = samples_header(net, interface, rate)
    files["README.md"] = readme(run, options, net, facts)
    prepare_directory(directory)
    remove_older(directory / "src", sources)
    return {"files": write_export(run, options, directory, files), "sizes": facts}
