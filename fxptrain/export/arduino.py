"""``--to arduino``: the C export as an Arduino library with an example sketch that learns from built-in samples.

What does not belong here: the C itself (`c99`).
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from fxptrain import __version__
from fxptrain.export.c99 import c_files, network_of, readme, sizes
from fxptrain.export.layers import Network
from fxptrain.export.plan import plan
from fxptrain.export.source import Options, write_export
from fxptrain.export.tables import GENERATED, array
from fxptrain.export.vectors import random_vectors
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.names import identifier, one_line, shortened
from fxptrain.run.evaluation import Run

SAMPLES = 4
MAX_SENTENCE = 200


def sentence(description: str) -> str:
    """A description as the value of a property: one line."""
    return shortened(one_line(description), MAX_SENTENCE)


def samples_header(net: Network, rate: Multiplier) -> str:
    """A few built-in samples with labels for the example sketch, made by the generator of all draws."""
    count = min(SAMPLES, net.batch) if net.training else 1
    vectors = random_vectors(net, samples=count, steps=0, seed=1, rate=rate)
    labels = np.arange(count) % net.layers[-1].stage.out_elements
    parts = [GENERATED, '#include "fxp.h"\n', f"#define SAMPLES {count}\n"]
    parts.append(array("uint8_t", "sample_pixels", vectors.before, f"{count} samples of {net.model.spec.input_shape}"))
    parts.append(array("uint16_t", "sample_labels", labels, "their classes"))
    return "\n".join(parts)


def export_arduino(run: Run, directory: Path, options: Options) -> dict[str, Any]:
    """Write the library: ``library.properties``, ``src/``, ``examples/``."""
    net = network_of(run, options)
    rate = Multiplier.from_real(run.recipe.schedule.lr)
    name = f"fxp_{identifier(run.recipe.name)}"
    folder = resources.files("fxptrain.export") / "templates"
    sketch = "Train.ino.in" if options.training else "Predict.ino.in"
    example = sketch.removesuffix(".ino.in")
    facts = sizes(net, plan(net))
    values = {"name": name, "version": __version__, "description": sentence(run.recipe.description or run.recipe.name)}
    files = {f"src/{file}": text for file, text in c_files(net, rate).items()}
    files[f"src/{name}.h"] = f'{GENERATED}#include "fxp.h"\n'
    files["library.properties"] = Template((folder / "library.properties.in").read_text("utf-8")).substitute(values)
    files[f"examples/{example}/{example}.ino"] = Template((folder / sketch).read_text("utf-8")).substitute(values)
    files[f"examples/{example}/samples.h"] = samples_header(net, rate)
    files["README.md"] = readme(run, options, net, facts)
    return {"files": write_export(run, options, directory, files), "sizes": facts}
