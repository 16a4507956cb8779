"""A model of stages that read each other: forward, backward, one training step, all integers equal to the engine's.

A rounding site's stream is 16 * layer + kind; the loss counts as the layer after the last. The error of a tensor is the
sum of what all its readers hand back, on one grid, rounded once. What does not belong here: how formats are chosen at
the start and how a loss is computed (an argument).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import pool
from .activation import Activation
from .adapt import DelayedScale, fitting_frac
from .containers import Ints, exact, largest, zeros
from .draws import draw_array
from .layer import Stage
from .loss import integer_cross_entropy, is_right
from .operations import Input, align, brought
from .parameter import VALUE, VALUE_REGRID, Parameter, Rule, Words, momentum_frac_that_fits
from .rounding import requantize_array
from .stage import StageOutput, error_mask, fused_stage, gated

Target = int | list[int]  # a class, or a vector on the outputs' grid
Loss = Callable[[list[int], int, Any], tuple[list[int], int, int]]  # (logits, frac, target) -> errors, their frac, loss
Gradient = tuple[Parameter, Ints, int, int]  # with its fraction bits and its bits at most
FORWARD, INPUT_ERROR, OUTPUT_ERROR, DROPOUT = 0, 1, 12, 13
INPUT = -1


@dataclass(frozen=True)
class Saved:
    """What a stage's forward keeps for its backward: inputs, output, shape before the pool."""

    inputs: list[Input]
    out: StageOutput
    full_shape: tuple[int, ...]


@dataclass
class NaiveModel:
    """Stages in order, with the fraction bits of the input and the width of the errors."""

    stages: list[Stage]
    input_frac: int
    error_bits: int
    layers: int
    input_bits: int = 16
    loss: Loss = integer_cross_entropy
    of_labels: bool = False  # that are there or not, instead of other vectors
    seed: int = 0
    step: int = 0
    saturation_mask: bool = True
    forward_stochastic: bool = True
    error_stochastic: bool = True
    momentum_follows: bool = False  # its binary point is the weights'

    def words(self, layer: int, kind: int, shape: tuple[int, ...], *, stochastic: bool) -> Ints | None:
        """Draws of one rounding site at this step, or None for half to even."""
        return draw_array(self.seed, 16 * layer + kind, self.step, shape) if stochastic else None

    def sources(self, number: int) -> tuple[int, ...]:
        """Stages that a stage reads."""
        found = self.stages[number].inputs
        return (number - 1,) if found is None else found

    def readers(self, number: int) -> list[tuple[int, int]]:
        """Who reads a stage's output: stage and slot."""
        pairs = [(i, slot, source) for i in range(len(self.stages)) for slot, source in enumerate(self.sources(i))]
        return [(i, slot) for i, slot, source in pairs if source == number]

    def learns(self, number: int) -> bool:
        """Whether a stage's output depends on a parameter that is trained: only then its error is of use."""
        own = any(parameter.trained for parameter in self.stages[number].parameters)
        return own or any(source != INPUT and self.learns(source) for source in self.sources(number))

    def _input(self, source: int, x: Ints, saved: list[Saved], shape: tuple[int, ...] | None) -> Input:
        if source == INPUT:
            found = Input(exact(x), self.input_frac, self.input_bits)
        else:
            form = self.stages[source].form
            found = Input(saved[source].out.values, form.frac, form.bits)
        return found if shape is None else Input(found.values.reshape(-1, *shape), found.frac, found.bits)

    def forward(self, x: Ints, *, stochastic: bool | None = None) -> tuple[Ints, list[Saved]]:
        """Logits and what backward needs."""
        is_stochastic = self.forward_stochastic if stochastic is None else stochastic
        saved: list[Saved] = []
        for number, stage in enumerate(self.stages):
            if stage.normalization is not None:
                stage.normalization.training = stochastic is None
            sources = self.sources(number)
            shapes = stage.input_shapes or [None] * len(sources)
            inputs = [self._input(s, x, saved, shape) for s, shape in zip(sources, shapes, strict=True)]
            if stage.op == "dropout":
                stage.drop(self.words(stage.layer, DROPOUT, inputs[0].values.shape, stochastic=stochastic is None))
            acc, frac_acc = stage.sums(*inputs)
            shape = acc.shape if stage.max_pool is None else pool.pooled_shape(acc.shape, *stage.max_pool)
            words = self.words(stage.layer, FORWARD, shape, stochastic=is_stochastic)
            out = fused_stage(
                acc,
                frac_acc - stage.form.frac,
                stage.form.bits,
                frac=stage.form.frac,
                pool=stage.max_pool,
                activation=stage.activation,
                draws=words,
            )
            saved.append(Saved(inputs, out, acc.shape))
        value = saved[-1].out.values
        return value.reshape(value.shape[0], -1), saved

    def loss_error(self, logits: Ints, labels: Sequence[Target], *, calibrate: bool = False) -> tuple[Ints, int, int]:
        """Requantized error of the logits, its fraction bits, and the loss summed over the batch."""
        acc, frac_acc, total = zeros(logits.shape), 0, 0
        for s, label in enumerate(labels):
            acc[s], frac_acc, loss = self.loss(logits[s].tolist(), self.stages[-1].form.frac, label)
            total += loss
        stream = 16 * self.layers + INPUT_ERROR
        error, frac = self._round_error(acc, frac_acc, self.stages[-1].error_scale, stream, calibrate=calibrate)
        return error, frac, total

    def backward(self, error: Ints, frac_e: int, saved: list[Saved], *, calibrate: bool = False) -> list[Gradient]:
        """Exact gradients of what is trained; moves the error scales, or with `calibrate` fits them to this batch."""
        gradients: list[Gradient] = []
        handed: dict[int, list[tuple[Ints, int, int]]] = {}  # what readers handed back: sums, fraction bits, bound
        for number in reversed(range(len(self.stages))):
            stage, kept = self.stages[number], saved[number]
            if not self.learns(number):
                continue
            if number < len(self.stages) - 1:
                error, frac_e = self._error_of(number, handed[number], kept, calibrate=calibrate)
            error = error.reshape(kept.out.values.shape)
            spread = error
            if stage.max_pool is not None:
                assert kept.out.window is not None
                spread = pool.maxpool2d_input_error(error, kept.out.window, kept.full_shape, *stage.max_pool)
            if stage.weights is not None:
                by_weights, by_bias = stage.gradients(kept.inputs[0].values, spread)
                bits = self._gradient_bits(kept)
                frac, more = stage.operation.gradient_grid(kept.inputs[0])
                if stage.weights.trained:
                    gradients.append((stage.weights, stage.weights.of_trained(by_weights), frac_e + frac, bits + more))
                if stage.bias is not None and stage.bias.trained:
                    gradients.append((stage.bias, stage.bias.of_trained(by_bias), frac_e, bits))
            shapes = [x.values.shape for x in kept.inputs]
            for slot, source in enumerate(self.sources(number)):
                if source != INPUT and self.learns(source):
                    acc, added = stage.input_error(spread, kept.inputs, slot)
                    bound = stage.error_bound(shapes[slot], kept.out.values.shape, self.error_bits)
                    handed.setdefault(source, []).append((acc, frac_e + added, bound))
        return gradients

    def _error_of(
        self, number: int, handed: list[tuple[Ints, int, int]], kept: Saved, *, calibrate: bool
    ) -> tuple[Ints, int]:
        """A tensor's error from what its readers handed back."""
        stage, y = self.stages[number], kept.out.values
        acc, frac_acc, _ = handed[0]
        acc, stream = acc.reshape(y.shape), 16 * stage.layer + OUTPUT_ERROR
        if len(handed) > 1:
            added = stage.activation.added_frac
            frac_acc = align([frac for _, frac, _ in handed], [bound * 2**added for _, _, bound in handed])
            acc = sum((brought(sums.reshape(y.shape), frac_acc - frac) for sums, frac, _ in handed), zeros(y.shape))
        elif len(self.sources(self.readers(number)[0][0])) == 1:
            stream = 16 * self.stages[self.readers(number)[0][0]].layer + INPUT_ERROR
        form, mask = stage.form, self.saturation_mask
        acc = gated(acc, y, form.bits, form.frac, activation=stage.activation, saturation=mask)
        frac_acc += stage.activation.added_frac
        for activation in self._activations(number)[1:]:
            acc = acc * error_mask(y, form.bits, form.frac, activation=activation, saturation=mask)
        return self._round_error(acc, frac_acc, stage.error_scale, stream, calibrate=calibrate)

    def _activations(self, number: int) -> list[Activation]:
        """Activations whose values a tensor holds: its stage's, and for one that rounds nothing those before."""
        stage = self.stages[number]
        before = self.sources(number)[0]
        return [stage.activation] + ([] if stage.rounds or before == INPUT else self._activations(before))

    def _gradient_bits(self, kept: Saved) -> int:
        """Bits without sign of a sum of errors, one from each sample and position of a stage's output."""
        positions = kept.out.values.shape[0] * kept.out.values.shape[1] * kept.out.values.shape[2]
        return self.error_bits - 1 + positions.bit_length()

    def _round_error(
        self, acc: Ints, frac_acc: int, scale: DelayedScale, stream: int, *, calibrate: bool
    ) -> tuple[Ints, int]:
        """Requantize an error at the scale it has, never finer than its sums; then let the scale see them."""
        if calibrate:
            scale.frac = fitting_frac(largest(acc), frac_acc, self.error_bits)
        frac = min(scale.frac, frac_acc)
        words = draw_array(self.seed, stream, self.step, acc.shape) if self.error_stochastic else None
        rounded, over = requantize_array(acc, frac_acc - frac, self.error_bits, words)
        if not calibrate:
            scale.observe(largest(acc), frac_acc, self.error_bits, over, acc.size)
        return rounded, frac

    def calibrate(self, x: Ints, labels: Sequence[Target], *, fit_momentum: bool) -> None:
        """Fit the error scales, and if asked the momentum forms, to the first batch; nothing else changes."""
        logits, saved = self.forward(x)
        error, frac, _ = self.loss_error(logits, labels, calibrate=True)
        gradients = self.backward(error, frac, saved, calibrate=True)
        peaks = {id(parameter): (largest(gradient), frac) for parameter, gradient, frac, _ in gradients}
        for stage in self.stages if fit_momentum else []:
            found = [peaks[id(parameter)] for parameter in stage.parameters if parameter.trained]
            if stage.weights is not None and any(peak for peak, _ in found):
                form = stage.weights.momentum_form
                form.frac = momentum_frac_that_fits(found, len(labels), form.bits)

    def train_step(self, x: Ints, labels: Sequence[Target], rule: Rule) -> tuple[int, int]:
        """One step on one batch: forward, loss error, backward, every update; returns loss sum and correct answers."""
        logits, saved = self.forward(x)
        error, frac_error, loss = self.loss_error(logits, labels)
        for parameter, gradient, frac, bits in self.backward(error, frac_error, saved):
            words = self._parameter_words(parameter, rule)
            parameter.update(gradient, frac, rule, len(labels), words, bits)
        for stage, kept in zip(self.stages, saved, strict=True):
            if stage.rounds:
                stage.form.note(kept.out.saturated, kept.out.values.size, largest(kept.out.values))
            stage.operation.end_step()
        self.step += 1
        return loss, self.right(logits, labels)

    def right(self, logits: Ints, labels: Sequence[Target]) -> int:
        """How many samples are right."""
        pairs = zip(logits.tolist(), labels, strict=True)
        return sum(is_right(row, label, labels=self.of_labels) for row, label in pairs)

    def adapt(self, rule: Rule, *, due: bool = True) -> None:
        """Adapt every form in running order; an output of weights or of a joint is never finer than its sums.

        Where it is not yet due, outputs adapt that overran their form.

        Weights that are not trained, all or some, stay on their grid, and so does their layer's bias.
        """
        before = [self._input_frac(number) for number in range(len(self.stages))]
        for number, stage in enumerate(self.stages):
            trained = [parameter for parameter in stage.parameters if parameter.trained]
            if due and stage.weights is not None and trained:
                stage.weights.form.adaptive &= stage.weights.trained and stage.weights.channels is None
                change, momentum_change = stage.weights.form.adapt(), stage.weights.momentum_form.adapt()
                if self.momentum_follows:
                    stage.weights.momentum_form.frac += change
                    momentum_change = change
                for parameter in trained:
                    parameter.regrid(change, momentum_change, self._parameter_words(parameter, rule))
            if stage.rounds:
                if due or stage.form.overran:
                    stage.form.adapt()
                finest = self._finest(number)
                if finest is not None and stage.form.adaptive:
                    stage.form.frac = max(min(stage.form.frac, finest), stage.form.coarsest)
        for number, stage in enumerate(self.stages):
            if stage.normalization is not None:
                stage.normalization.follow(self._input_frac(number) - before[number])

    def _input_frac(self, number: int) -> int:
        source = self.sources(number)[0]
        return self.input_frac if source == INPUT else self.stages[source].form.frac

    def _finest(self, number: int) -> int | None:
        """Fraction bits of a stage's sums, where they limit its output's."""
        forms = [
            (self.input_frac, self.input_bits)
            if source == INPUT
            else (self.stages[source].form.frac, self.stages[source].form.bits)
            for source in self.sources(number)
        ]
        return self.stages[number].finest(forms)

    def _parameter_words(self, parameter: Parameter, rule: Rule) -> Words:
        layer = next(stage.layer for stage in self.stages if any(parameter is own for own in stage.parameters))
        working = parameter.master is not None and rule.working_stochastic
        return lambda kind: self.words(
            layer, kind, parameter.raw.shape,
            stochastic=rule.stochastic or (working and kind in map(parameter.kind, (VALUE, VALUE_REGRID))),
        )  # fmt: skip
