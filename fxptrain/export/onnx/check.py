"""``fxptrain verify`` of an ONNX export: onnxruntime runs it, every logit is compared with the engine's.

What does not belong here: making the graph (`model`) and vectors (`export.vectors`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FxptrainError
from fxptrain.export.onnx.graph import require
from fxptrain.export.onnx.model import MODEL
from fxptrain.export.vectors import Vectors
from fxptrain.nn.engine.inference import logits
from fxptrain.run.evaluation import Run

T = TypeVar("T")
CHUNK = 64  # samples at a time: a graph of wide integers gathers all windows of a layer at once


def is_export(directory: Path) -> bool:
    """Whether a directory holds an ONNX export."""
    return (directory / MODEL).is_file()


def session(model: str | bytes, threads: int = 1) -> Any:
    """An inference session of onnxruntime on the CPU.

    Raises
    ------
    FxptrainError
        If the library is missing, or cannot run the model.
    """
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 4
    return guarded(lambda: runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"]))


def guarded(call: Callable[[], T]) -> T:
    """What a call of onnxruntime gives; its exceptions, which have no type in common, become one line.

    Raises
    ------
    FxptrainError
        With the first line of what onnxruntime says.
    """
    try:
        return call()
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise FxptrainError(f"onnxruntime cannot run the model: {reason}") from None


def outputs(running: Any, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What a session gives for samples, chunk by chunk."""
    name = running.get_inputs()[0].name
    parts = [samples[at : at + CHUNK] for at in range(0, len(samples), CHUNK)]
    return np.concatenate([guarded(partial(running.run, None, {name: part}))[0] for part in parts])


def check(run: Run, directory: Path, vectors: Vectors, threads: int = 1) -> dict[str, Any]:
    """Compare an ONNX export with its model on the first samples: pixels, or raw integers where the graph reads those.

    Returns
    -------
    dict
        ``equal``, ``differences`` (texts), ``compared`` (integers), the runtime's version.
    """
    samples = vectors.before
    expected = logits(run.model, vectors.through(run.inputs.raw).before, threads)
    found = outputs(session(str(directory / MODEL), threads), samples)
    wrong = np.flatnonzero((found != expected).any(axis=1))
    told = []
    if wrong.size:
        first = wrong[0]
        told = [
            f"logits: {wrong.size} of {len(samples)} samples differ, the first is {first}: "
            f"{found[first].tolist()}, not {expected[first].tolist()}"
        ]
    return {
        "recipe": run.recipe.name,
        "target": f"onnxruntime {require('onnxruntime').__version__}",
        "samples": len(samples),
        "equal": not told,
        "differences": told,
        "compared": expected.size,
    }
