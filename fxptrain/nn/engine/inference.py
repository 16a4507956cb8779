"""Running a model forward without training: half to even, in chunks, over threads."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FxptrainError, ShapeError
from fxptrain.kernels.call import Program, run_calls
from fxptrain.kernels.requantize import RoundSite
from fxptrain.nn.engine.call_cache import CallCache, remembered
from fxptrain.nn.engine.passes import ForwardPass
from fxptrain.nn.engine.threads import Team, shares
from fxptrain.nn.engine.workspace import Workspace, plan_memory
from fxptrain.nn.layers.contract import INPUT, Moment
from fxptrain.nn.layers.images import SAMPLE_BLOCK
from fxptrain.nn.losses import Targets
from fxptrain.nn.model import Model
from fxptrain.nn.state.parameters import IntArray

CHUNK = 64  # samples of one thread at a time
NO_PIXELS = np.empty(0, np.uint8)
NO_ROUNDING = RoundSite(0, False, 0, 0, 0, 0, 0, 0)


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


class Inference:
    """A model ready to run forward: memory allocated once, weights packed once.

    Parameters
    ----------
    model : Model
        Must not change while this is in use.
    batch : int
        Samples expected at a time; any number can be given, larger ones run in chunks.
    threads : int
        Threads to use; they change no bit.

    Examples
    --------
    >>> from fxptrain.nn import spec
    >>> layers = (spec.Linear(features=3),)
    >>> tiny = spec.ModelSpec(name="tiny", input_shape=(2, 2, 1), layers=layers)
    >>> model = Model.build(tiny, spec.FormatSpec(), spec.OptimizerSpec())
    >>> Inference(model, batch=2).logits(np.zeros((2, 2, 2, 1), np.uint8)).shape
    (2, 3)
    """

    def __init__(self, model: Model, batch: int = CHUNK, threads: int = 1) -> None:
        self.model = model
        self.team = Team(max(1, min(threads, batch)))
        self._macs = sum(stage.macs for stage in model.stages)
        self.chunk = max(1, min(CHUNK * self.team.size, batch))
        arenas = plan_memory(model, self.chunk, self.team.size, training=False)
        self.space = Workspace(model, arenas, self.team.size)
        self._programs: dict[Hashable, tuple[list[ForwardPass], Program]] = {}
        self._extent = model.expect(NO_PIXELS)
        self._prepare()

    def _prepare(self) -> None:
        """Choose accumulators for inputs in `_extent`, and pack the weights."""
        self._programs.clear()
        stages, shared = self.model.stages, self.space.shared
        found = [stage.measure(views, False) for stage, views in zip(stages, shared, strict=True)]
        run_calls([call for calls in found for call in calls.values()])
        for stage, measured in zip(stages, found, strict=True):
            stage.choose(measured)
        for stage, views in zip(stages, shared, strict=True):
            run_calls(stage.prepare(views, False))

    def _plan(self, samples: int, kind: npt.DTypeLike) -> tuple[list[ForwardPass], Program]:
        """Forward of a chunk: a share for every thread."""
        moment = Moment(self.model.seed, 0, False, False)
        parts = shares(samples, self.team.workers(samples * self._macs), SAMPLE_BLOCK)
        found = [
            ForwardPass(self.model, self.space, CallCache(self.model.stages), worker, part, moment, kind)
            for worker, part in enumerate(parts)
        ]
        return found, Program([[one.calls] for one in found])

    def chunks(self, inputs: npt.NDArray[np.generic]) -> Iterator[tuple[slice, IntArray]]:
        """Logits chunk by chunk, as views that the next chunk overwrites."""
        check_inputs(self.model, inputs)
        low, high = self.model.expect(inputs)
        if low < self._extent[0] or high > self._extent[1]:
            self._extent = low, high
            self._prepare()
        for start in range(0, len(inputs), self.chunk):
            here = inputs[start : start + self.chunk]
            plan = partial(self._plan, len(here), inputs.dtype)
            parts, program = remembered(self._programs, (len(here), inputs.dtype), plan)
            for one in parts:
                one.give(here)
            self.team.perform(program, 0, len(parts))
            yield slice(start, start + len(here)), self.space.y[-1][: len(here)].reshape(len(here), -1)

    def outputs(self, stage: int, inputs: npt.NDArray[np.generic]) -> IntArray:
        """What a stage gives for no more than a chunk, by the weights as they are now: a view, until the next call."""
        check_inputs(self.model, inputs)
        self._extent = self.model.expect(inputs)
        self._prepare()
        parts, _ = self._plan(len(inputs), inputs.dtype)
        for one in parts:
            one.give(inputs)
            run_calls([*one.load, *(call for output in one.outputs[: stage + 1] for call in output.calls)])
        return self.space.y[stage][: len(inputs)]

    def logits(self, inputs: npt.NDArray[np.generic]) -> npt.NDArray[np.int32]:
        """Raw outputs of the last layer.

        Parameters
        ----------
        inputs : uint8 or raw int array (n, h, w, c)
            Pixels, or raw integers in the model's input format.

        Returns
        -------
        int32 array (n, outputs), raw in the last layer's output format

        Raises
        ------
        FxptrainError
            If the inputs are neither, or have another shape.
        """
        out = np.empty((len(inputs), self.model.stages[-1].out_elements), np.int32)
        for part, values in self.chunks(inputs):
            out[part] = values
        return out

    def evaluate(
        self, inputs: npt.NDArray[np.generic], labels: Targets,
        see: Callable[[slice, IntArray], object] | None = None,
    ) -> tuple[int, int]:  # fmt: skip
        """Sum of the losses (16 fractional bits) and number of correct classes over all samples.

        Parameters
        ----------
        inputs : uint8 or raw int array (n, h, w, c)
            Pixels, or raw integers in the model's input format.
        labels : int32 array (n,), or raw int array (n, outputs)
            Class numbers; labels, each 1 or 0, of which a sample has all right or is not correct; of a model of
            vectors, targets in the format of the outputs, none of which is correct.
        see : callable, optional
            Called with every chunk's part of the samples and its outputs, which the next chunk overwrites.
        """
        last = self.model.stages[-1]
        rule = self.model.loss
        rule.check(labels, last.y_form.format, last.out_elements)
        total, correct = 0, 0
        acc, draws = np.empty(last.out_elements, np.int64), np.empty(0, np.uint32)
        for part, values in self.chunks(inputs):
            unused = np.empty(values.shape, np.int8)
            frac, wanted = last.y_form.format.frac_bits, labels[part]
            result = rule.kernel(values, frac, wanted, NO_ROUNDING, *rule.constants, acc, draws, unused)
            total, correct = total + int(result[0]), correct + int(result[1])
            if see is not None:
                see(part, values)
        return total, correct


def latents(model: Model, tensor: int, inputs: npt.NDArray[np.generic], threads: int = 1) -> IntArray:
    """Values of a tensor, or of the model's input, rounded half to even, by the model as it is now.

    Parameters
    ----------
    model : Model
        Its parameters stay as they are.
    tensor : int
        Number of the stage that writes it, or `INPUT`.
    inputs : uint8 or raw int array (n, h, w, c)
        Pixels, or raw integers in the model's input format.
    threads : int
        They change no bit.

    Returns
    -------
    int array (n, h, w, c), raw in the tensor's format
    """
    check_inputs(model, inputs)
    if tensor == INPUT:
        return model.table[inputs] if inputs.dtype == np.uint8 else inputs.astype(model.input_form.format.dtype)
    out = np.empty((len(inputs), *model.stages[tensor].out_shape), model.form_of(tensor).format.dtype)
    engine = Inference(model, len(inputs), threads)
    for start in range(0, len(inputs), engine.chunk):
        part = slice(start, start + engine.chunk)
        out[part] = engine.outputs(tensor, inputs[part])
    return out


def logits(model: Model, inputs: npt.NDArray[np.generic], threads: int = 1) -> npt.NDArray[np.int32]:
    """`Inference.logits` of a model as it is now.

    Parameters
    ----------
    model : Model
        Its parameters stay as they are.
    inputs : uint8 or raw int array (n, h, w, c)
        Pixels, or raw integers in the model's input format.
    threads : int
        They change no bit.

    Returns
    -------
    int32 array (n, outputs), raw in the last layer's output format
    """
    return Inference(model, len(inputs), threads).logits(inputs)


def evaluate(model: Model, inputs: npt.NDArray[np.generic], labels: Targets, threads: int = 1) -> tuple[int, int]:
    """`Inference.evaluate` of a model as it is now.

    Parameters
    ----------
    model : Model
        Its parameters stay as they are.
    inputs : uint8 or raw int array (n, h, w, c)
        Pixels, or raw integers in the model's input format.
    labels : int32 array (n,), or raw int array (n, outputs)
        As for `Inference.evaluate`.
    threads : int
        They change no bit.

    Returns
    -------
    (int, int)
        Sum of the losses (16 fractional bits), and how many samples are right.
    """
    return Inference(model, len(inputs), threads).evaluate(inputs, labels)
