"""Running a model forward without training: half to even, in chunks, over threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FxptrainError, ShapeError
from fxptrain.kernels import loss
from fxptrain.kernels.copy import look_up
from fxptrain.kernels.requantize import RoundSite
from fxptrain.nn.layout import SAMPLE_BLOCK
from fxptrain.nn.model import Model
from fxptrain.nn.parameters import IntArray
from fxptrain.nn.stage import ForwardCall, Moment
from fxptrain.nn.threads import Team, shares
from fxptrain.nn.workspace import Workspace

CHUNK = 64  # samples of one thread at a time
NO_ROUNDING = RoundSite(0, False, 0, 0, 0, 0, 0, 0)


def load_input(model: Model, inputs: npt.NDArray[Any], out: IntArray) -> None:
    """Raw input integers of some samples: pixels through the table, raw integers as they are."""
    if inputs.dtype == np.uint8:
        look_up(np.ascontiguousarray(inputs), model.table, out)
    else:
        out[...] = inputs


def check_inputs(model: Model, inputs: npt.NDArray[np.generic]) -> None:
    """Raise unless inputs are pixels or raw integers in the input format, (n, h, w, c)."""
    form = model.input_form.format
    if inputs.dtype not in (np.uint8, form.dtype):
        raise FxptrainError(
            f"`inputs` has dtype {inputs.dtype}; it must be uint8 pixels or raw {form.dtype} of {form}. "
            "Use `quantize_inputs` for real numbers."
        )
    if inputs.shape[1:] != model.spec.input_shape:
        raise ShapeError(f"`inputs` has samples of shape {inputs.shape[1:]}; the model takes {model.spec.input_shape}.")


def _logits(model: Model, inputs: npt.NDArray[np.generic], threads: int) -> Iterator[tuple[slice, IntArray]]:
    """Logits chunk by chunk, as views that the next chunk overwrites."""
    check_inputs(model, inputs)
    team = Team(max(1, min(threads, -(-len(inputs) // SAMPLE_BLOCK))))
    chunk = min(CHUNK * team.size, max(len(inputs), 1))
    space = Workspace(model, chunk, team.size, training=False)
    moment = Moment(model.seed, model.step, 0, False, False)
    for stage, views in zip(model.stages, space.shared, strict=True):
        stage.prepare(views, False)
    for start in range(0, len(inputs), chunk):
        here = inputs[start : start + chunk]
        parts = shares(len(here), team.size, SAMPLE_BLOCK)

        def run(worker: int, here: npt.NDArray[np.generic] = here, parts: object = parts) -> None:
            part = parts[worker]  # type: ignore[index]
            x = space.input[part]
            load_input(model, here[part], x)
            for i, stage in enumerate(model.stages):
                y = space.y[i][part]
                scratch = space.scratch["forward", worker][i]
                x = x.reshape(-1, *stage.in_shape)
                stage.forward(ForwardCall(x, y, space.winners_of(i, part), moment, space.shared[i], scratch))
                x = y

        team.run(run, len(parts))
        yield slice(start, start + len(here)), space.y[-1][: len(here)].reshape(len(here), -1)


def logits(model: Model, inputs: npt.NDArray[np.generic], threads: int = 1) -> npt.NDArray[np.int32]:
    """Raw outputs of the last layer.

    Parameters
    ----------
    model : Model
        The model; its state does not change.
    inputs : uint8 or raw int array (n, h, w, c)
        Pixels, or raw integers in the model's input format.
    threads : int
        Threads to use; they change no bit.

    Returns
    -------
    int32 array (n, outputs), raw in the last layer's output format
    """
    out = np.empty((len(inputs), model.stages[-1].out_elements), np.int32)
    for part, values in _logits(model, inputs, threads):
        out[part] = values
    return out


def evaluate(
    model: Model, inputs: npt.NDArray[np.generic], labels: npt.NDArray[np.int32], threads: int = 1
) -> tuple[int, int]:
    """Sum of the losses (16 fractional bits) and number of correct classes over all samples."""
    frac = model.stages[-1].y_form.format.frac_bits
    function: Any = loss.cross_entropy if model.spec.loss == "cross-entropy" else loss.squared_error
    total, correct = 0, 0
    classes = model.stages[-1].out_elements
    acc, draws = np.empty(classes, np.int64), np.empty(0, np.uint32)
    for part, values in _logits(model, inputs, threads):
        unused = np.empty(values.shape, np.int8)
        result = function(values, frac, labels[part], NO_ROUNDING, acc, draws, unused)
        total, correct = total + int(result[0]), correct + int(result[1])
    return total, correct
