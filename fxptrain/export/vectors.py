"""Vectors for an export, what Python's engine makes of them, and the comparison with what the export made.

What does not belong here: compilers and boards (`verify`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import CheckpointError, FxptrainError
from fxptrain.export.interface import Interface
from fxptrain.export.layers import Network
from fxptrain.export.ring import encode as encode_ring
from fxptrain.export.state import differences, encode, fingerprint, state_bytes_of
from fxptrain.fixed.draws import draws
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.engine import inference
from fxptrain.nn.engine.inference import logits
from fxptrain.nn.engine.replay_step import ReplayStep
from fxptrain.nn.engine.step import TrainingStep
from fxptrain.nn.losses import Targets
from fxptrain.nn.model import Model
from fxptrain.nn.replay import Ring
from fxptrain.nn.tail import latent_of

Samples = npt.NDArray[Any]
VECTOR_STREAM = (1 << 32) - 5  # far from rounding sites and data
NO_POWER_CYCLE = -1


@dataclass(frozen=True)
class Batch:
    """One training step's samples, labels (or targets) and learning rate."""

    inputs: Samples
    labels: Targets
    rate: Multiplier


@dataclass(frozen=True)
class Real:
    """A sample of real numbers ``values * 2^-frac``, and the raw integers that it must become."""

    values: npt.NDArray[np.int32]
    frac: int
    raw: Samples


@dataclass(frozen=True)
class Vectors:
    """What an export is fed: reals to quantize, samples to predict before and after training, batches to train on."""

    before: Samples
    batches: tuple[Batch, ...]
    after: Samples
    reals: tuple[Real, ...] = ()

    @property
    def raw(self) -> bool:
        """Whether samples are raw integers instead of pixels."""
        return self.before.dtype != np.uint8

    def through(self, rule: Callable[[Samples], Samples]) -> Vectors:
        """The same with every sample as the engine reads it; raw integers are that already."""
        if self.raw:
            return self
        batches = tuple(replace(batch, inputs=rule(batch.inputs)) for batch in self.batches)
        return replace(self, before=rule(self.before), batches=batches, after=rule(self.after))

    def encode(self, *, power_cycle: int = NO_POWER_CYCLE) -> bytes:
        """``vectors.bin``."""
        counts = len(self.reals), len(self.before), len(self.batches), len(self.after)
        parts = [struct.pack("<6i", *counts, int(self.raw), power_cycle)]
        parts += [struct.pack("<i", real.frac) + _bytes(real.values) for real in self.reals]
        parts.append(_bytes(self.before))
        for batch in self.batches:
            parts.append(struct.pack("<3i", len(batch.labels), batch.rate.mantissa, batch.rate.shift))
            goals = batch.labels if batch.labels.ndim == 2 else batch.labels.astype(np.uint16)
            parts += [_bytes(batch.inputs), _bytes(goals)]
        return b"".join([*parts, _bytes(self.after)])


def _bytes(samples: Samples) -> bytes:
    return samples.astype(samples.dtype.newbyteorder("<")).tobytes()


def random_vectors(
    net: Network, *, samples: int, steps: int, seed: int, rate: Multiplier, raw: bool = False
) -> Vectors:
    """Reproducible vectors: smooth and noisy random inputs, random labels, batches of changing size."""
    model = net.model
    shape = model.spec.input_shape
    count = 2 * samples + steps * net.batch
    form = model.input_form.format
    words = draws(seed, VECTOR_STREAM, 0, count * int(np.prod(shape))).reshape(count, *shape)
    strength = draws(seed, VECTOR_STREAM - 1, 0, count).reshape(count, 1, 1, 1) >> 24
    pixels = ((words >> 24) * strength >> 8).astype(np.uint8)
    inputs = (words >> (32 - form.total_bits)).astype(np.int64) + form.min_raw if raw else pixels
    inputs = inputs.astype(form.dtype if raw else np.uint8)
    labels, batches = _random_targets(model, max(steps * net.batch, 1), seed), []
    for step in range(steps):
        first = step * net.batch
        size = net.batch if step % 3 else 1 + (step // 3) % net.batch
        part = slice(2 * samples + first, 2 * samples + first + size)
        targets = labels[first : first + size]
        if model.spec.target == "input":
            targets = (inputs[part] if raw else model.table[inputs[part]]).reshape(size, -1)
        batches.append(Batch(inputs[part], targets, rate))
    return Vectors(inputs[:samples], tuple(batches), inputs[samples : 2 * samples])


def _random_targets(model: Model, samples: int, seed: int) -> Targets:
    """Class numbers, labels that are there or not, or vectors anywhere in the outputs' format."""
    outputs, form = model.stages[-1].out_elements, model.stages[-1].y_form.format
    count = samples * outputs if model.loss.of_vectors else samples
    words = draws(seed, VECTOR_STREAM - 2, 0, count)
    if not model.loss.of_vectors:
        return (words % outputs).astype(np.int32)
    if not model.loss.on_grid:
        return (words & 1).astype(form.dtype).reshape(samples, outputs)
    found = (words >> (32 - form.total_bits)).astype(np.int64) + form.min_raw
    return found.astype(form.dtype).reshape(samples, outputs)


def real_vectors(net: Network, interface: Interface, count: int, seed: int) -> tuple[Real, ...]:
    """Samples of real numbers around their mean, some far outside, in several units; none for a model of pixels."""
    if interface.pixels:
        return ()
    shape, form = net.model.spec.input_shape, net.value
    words = draws(seed, VECTOR_STREAM - 3, 0, count * int(np.prod(shape))).reshape(count, *shape)
    spread = np.array(interface.stds) * 2.0 ** (form.total_bits - form.frac_bits)
    reals = np.array(interface.means) + (words / 2.0**31 - 1) * spread
    finest = 30 - max(int(np.ceil(np.log2(np.abs(reals).max() + 1e-30))), 0)
    found = []
    for n in range(count):
        frac = max(0, min(31, finest) - 3 * n % 32)
        values = np.clip(np.rint(reals[n] * 2.0**frac), -(1 << 31), (1 << 31) - 1).astype(np.int32)
        found.append(Real(values, frac, interface.quantized(values, frac, form)))
    return tuple(found)


@dataclass(frozen=True)
class Expected:
    """What Python gives on vectors."""

    before: npt.NDArray[np.int32]
    steps: tuple[tuple[int, int, int], ...]
    state: bytes
    after: npt.NDArray[np.int32]


def run_engine(net: Network, vectors: Vectors, threads: int = 1) -> Expected:
    """Run the vectors through the engine; the model is trained by it."""
    model: Model = net.model
    before = logits(model, vectors.before, threads)
    steps: list[tuple[int, int, int]] = []
    adapting = None if net.ring is None else _adapting(net, net.ring, threads)
    if vectors.batches:
        training = TrainingStep(model, net.batch, threads=threads)
        for number, batch in enumerate(vectors.batches):
            if (
                adapting is not None and number % 4 < 2
            ):  # new samples, then the same kind without the ring hearing of them
                latents = inference.latents(model, latent_of(model.graph), batch.inputs, threads)
                replays = net.batch - len(batch.labels)
                result = adapting.run(latents, batch.labels, batch.rate, replays=replays, keep=number % 4 == 0)
            else:
                result = training.run(batch.inputs, batch.labels, batch.rate)
            steps.append((int(result.loss_sum), int(result.correct), int(result.samples)))
    state = encode(net, fingerprint(net)) if net.training else b""
    if adapting is not None and adapting.ring is not None:
        state += encode_ring(adapting.ring, fingerprint(net))
    return Expected(before, tuple(steps), state, logits(model, vectors.after, threads))


def _adapting(net: Network, ring: Ring, threads: int) -> ReplayStep:
    """Steps with a ring of their own, as it was exported."""
    own = Ring.restored(net.model, ring.numbers(), ring.arrays())
    return ReplayStep(net.model, own, new=net.batch, threads=threads)


# Comparison ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Findings:
    """What differs between Python and an export, and the ticks its calls took."""

    differences: list[str]
    compared: int
    predict_ticks: list[int]
    step_ticks: list[int]


def _predictions(net: Network, results: bytes, at: int, count: int) -> tuple[npt.NDArray[Any], int]:
    outputs = net.layers[-1].stage.out_elements
    record = np.dtype([("class", "<i4"), ("logits", "<i4", (outputs,)), ("ticks", "<u8")])
    if len(results) < at + count * record.itemsize:
        raise CheckpointError(f"The results end after {len(results)} bytes.")
    return np.frombuffer(results, record, count, at), at + count * record.itemsize


def _compare_predictions(when: str, found: npt.NDArray[Any], expected: npt.NDArray[np.int32]) -> list[str]:
    wrong = np.flatnonzero((found["logits"] != expected).any(axis=1) | (found["class"] != expected.argmax(axis=1)))
    if not wrong.size:
        return []
    first = wrong[0]
    return [
        f"{when}: {wrong.size} of {len(expected)} predictions differ, the first is sample {first}: class "
        f"{found['class'][first]}, logits {found['logits'][first].tolist()}; not {expected[first].tolist()}"
    ]


def _compare_reals(net: Network, vectors: Vectors, results: bytes) -> tuple[list[str], int]:
    """Quantized inputs: what differs, and where the results go on."""
    expected = [real.raw for real in vectors.reals]
    count = sum(raw.size for raw in expected)
    stored = net.value.dtype.newbyteorder("<")
    size = count * stored.itemsize
    if not count:
        return [], 0
    if len(results) < size:
        raise CheckpointError(f"The results end after {len(results)} bytes.")
    found, wanted = np.frombuffer(results, stored, count), np.concatenate([raw.reshape(-1) for raw in expected])
    wrong = np.flatnonzero(found != wanted)
    if not wrong.size:
        return [], size
    at = int(wrong[0])
    return [f"quantized inputs: {wrong.size} of {count} differ, the first is {at}: {found[at]} not {wanted[at]}"], size


def compare(net: Network, vectors: Vectors, expected: Expected, results: bytes) -> Findings:
    """Compare ``results.bin`` with what Python gives, integer by integer."""
    told, at = _compare_reals(net, vectors, results)
    found, at = _predictions(net, results, at, len(vectors.before))
    told += _compare_predictions("before training" if net.training else "logits", found, expected.before)
    ticks = found["ticks"].tolist()
    step = struct.Struct("<qiiQ")
    step_ticks: list[int] = []
    compared = expected.before.size + expected.after.size + 3 * len(expected.steps)
    compared += sum(real.raw.size for real in vectors.reals)
    if net.training:
        made = [step.unpack_from(results, at + i * step.size) for i in range(len(expected.steps))]
        at += len(made) * step.size
        step_ticks = [row[3] for row in made]
        wrong = [i for i, (row, wanted) in enumerate(zip(made, expected.steps, strict=True)) if row[:3] != wanted]
        if wrong:
            i = wrong[0]
            told.append(
                f"steps: {len(wrong)} differ in (loss, correct, samples), the first is {i}: "
                f"{made[i][:3]} not {expected.steps[i]}"
            )
        size = state_bytes_of(net)
        wanted, rest = expected.state[:size], expected.state[size:]
        told += [f"after {len(made)} steps, {text}" for text in differences(net, wanted, results[at : at + size])]
        compared += sum(2 * p.trained_size for i in range(len(net.layers)) for p in net.trained(i))
        at += size
        if net.ring is not None:
            if results[at : at + len(rest)] != rest:
                told.append(f"after {len(made)} steps, the ring differs")
            compared += sum(array.size for array in net.ring.arrays().values())
            at += len(rest)
    found, at = _predictions(net, results, at, len(vectors.after))
    told += _compare_predictions("after training", found, expected.after)
    if at != len(results):
        raise FxptrainError(f"The results have {len(results) - at} bytes too many.")
    return Findings(told, compared, ticks + found["ticks"].tolist(), step_ticks)
