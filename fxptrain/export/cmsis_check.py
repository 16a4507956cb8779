"""A CMSIS-NN export compiled with the checkout's model of CMSIS-NN (`tools/cmsis_nn_model`), compared with the engine.

What does not belong here: writing exports (`cmsis_files`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FxptrainError
from fxptrain.export.source import read_source
from fxptrain.export.toolchain import STANDARD, WARNINGS, call
from fxptrain.nn.engine.inference import logits
from fxptrain.run.evaluation import samples_to_judge

MARK = "fxp_cmsis.h"


def model_folder() -> Path:
    """Where the model of CMSIS-NN is."""
    folder = Path(__file__).parents[2] / "tools" / "cmsis_nn_model"
    if not (folder / "model.c").is_file():
        raise FxptrainError(f"The model of CMSIS-NN belongs to the checkout; there is none at {folder}.")
    return folder


def logits_of(
    directory: Path, inputs: npt.NDArray[Any], compiler: str = "gcc", options: Sequence[str] = ("-O2",)
) -> npt.NDArray[np.int32]:
    """Logits of raw inputs (samples, h, w, c) by an export compiled with the model.

    Raises
    ------
    FxptrainError
        If the compiler is missing or complains, or a kernel refuses its arguments.
    """
    model, stored = model_folder(), np.dtype("<i2" if inputs.dtype.itemsize > 1 else "i1")
    files = [directory / "fxp_cmsis.c", directory / "fxp_cmsis_data.c", model / "model.c", model / "main.c"]
    with tempfile.TemporaryDirectory(prefix="fxptrain-cmsis-") as name:
        build = Path(name)
        (build / "inputs.bin").write_bytes(inputs.astype(stored).tobytes())
        command = [
            compiler,
            STANDARD,
            *WARNINGS,
            *options,
            "-I",
            model,
            "-I",
            directory,
            *files,
            "-o",
            build / "program",
        ]
        call(list(map(str, command)), build, f"Compiling with {compiler}")
        call([build / "program"], build, "The export's program")
        found = np.fromfile(build / "logits.bin", stored).astype(np.int32)
    return found.reshape(len(inputs), -1)


def compare(directory: Path, data: str, samples: int, options: Sequence[str] = ("-O2",)) -> dict[str, Any]:
    """Count what differs between an export and the engine on the first test samples of `data`.

    Returns
    -------
    dict
        `samples`, `logits` and how many `logits_differ`, by how much `at_most`, how many `samples_differ` and
        `classes_differ`; of classes `right` and `right_cmsis_nn`: right answers of the engine and of
        the export.

    Raises
    ------
    FxptrainError
        If there is no such export or no such data.
    """
    if not (directory / MARK).is_file():
        raise FxptrainError(
            f"There is no export for CMSIS-NN in {directory}; make one with `fxptrain export --to cmsis-nn`, and "
            "without --prefix."
        )
    run, _ = read_source(directory)
    split = samples_to_judge(run, data)
    inputs, labels = run.inputs.raw(split.inputs[:samples]), split.labels[:samples]
    raw = run.model.table[inputs] if inputs.dtype == np.uint8 else inputs
    expected, found = logits(run.model, inputs), logits_of(directory, raw, options=options)
    wrong, classes, others = expected != found, expected.argmax(1), found.argmax(1)
    right = {}
    if run.recipe.model.target == "class":
        right = {"right": int((classes == labels).sum()), "right_cmsis_nn": int((others == labels).sum())}
    return {
        "samples": len(expected),
        "logits": expected.size,
        "logits_differ": int(wrong.sum()),
        "at_most": int(np.abs(expected - found).max(initial=0)),
        "samples_differ": int(wrong.any(1).sum()),
        "classes_differ": int((classes != others).sum()),
    } | right
