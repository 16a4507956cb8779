"""A sequential model: forward, backward and one training step, all integers equal to the engine's.

A rounding site's stream is 16 * layer + kind; the loss counts as the layer after the last. What does not belong here:
how formats are chosen at the start and how a loss is computed (an argument).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from . import pool
from .adapt import DelayedScale, fitting_frac
from .containers import Ints, exact, largest, zeros
from .draws import draw_array
from .layer import Stage
from .loss import integer_cross_entropy
from .parameter import Parameter, Rule, Words, momentum_frac_that_fits
from .rounding import requantize_array
from .stage import StageOutput, error_mask, fused_stage

Loss = Callable[[list[int], int, int], tuple[list[int], int, int]]  # (logits, frac, label) -> errors, their frac, loss
Gradient = tuple[Parameter, Ints, int, int]  # with its fraction bits and its bits at most
FORWARD, INPUT_ERROR = 0, 1


@dataclass(frozen=True)
class Saved:
    """What a stage's forward keeps for its backward: input and its fraction bits, output, shape before the pool."""

    x: Ints
    frac_x: int
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
    loss_scale: DelayedScale = field(default_factory=lambda: DelayedScale(0))
    seed: int = 0
    step: int = 0
    saturation_mask: bool = True
    forward_stochastic: bool = True
    error_stochastic: bool = True
    momentum_follows: bool = False  # its binary point is the weights'

    def words(self, layer: int, kind: int, shape: tuple[int, ...], *, stochastic: bool) -> Ints | None:
        """Draws of one rounding site at this step, or None for half to even."""
        return draw_array(self.seed, 16 * layer + kind, self.step, shape) if stochastic else None

    def forward(self, x: Ints, *, stochastic: bool | None = None) -> tuple[Ints, list[Saved]]:
        """Logits and what backward needs."""
        is_stochastic = self.forward_stochastic if stochastic is None else stochastic
        value, frac, saved = exact(x), self.input_frac, []
        for stage in self.stages:
            value = value if stage.input_shape is None else value.reshape(-1, *stage.input_shape)
            acc, frac_acc = stage.sums(value, frac)
            shape = acc.shape if stage.max_pool is None else pool.pooled_shape(acc.shape, *stage.max_pool)
            words = self.words(stage.layer, FORWARD, shape, stochastic=is_stochastic)
            out = fused_stage(
                acc,
                frac_acc - stage.form.frac,
                stage.form.bits,
                pool=stage.max_pool,
                has_relu=stage.has_relu,
                draws=words,
            )
            saved.append(Saved(value, frac, out, acc.shape))
            value, frac = out.values, stage.form.frac
        return value.reshape(value.shape[0], -1), saved

    def loss_error(self, logits: Ints, labels: Sequence[int], *, calibrate: bool = False) -> tuple[Ints, int, int]:
        """Requantized error of the logits, its fraction bits, and the loss summed over the batch."""
        acc, frac_acc, total = zeros(logits.shape), 0, 0
        for s, label in enumerate(labels):
            acc[s], frac_acc, loss = self.loss(logits[s].tolist(), self.stages[-1].form.frac, int(label))
            total += loss
        error, frac = self._round_error(acc, frac_acc, self.loss_scale, self.layers, calibrate=calibrate)
        return error, frac, total

    def backward(self, error: Ints, frac_e: int, saved: list[Saved], *, calibrate: bool = False) -> list[Gradient]:
        """Exact gradients of all parameters; moves the error scales, or with `calibrate` fits them to this batch."""
        gradients: list[Gradient] = []
        for number in reversed(range(len(self.stages))):
            stage, kept = self.stages[number], saved[number]
            error = error.reshape(kept.out.values.shape)
            if stage.max_pool is not None:
                assert kept.out.window is not None
                error = pool.maxpool2d_input_error(error, kept.out.window, kept.full_shape, *stage.max_pool)
            if stage.weights is not None:
                by_weights, by_bias = stage.gradients(kept.x, error)
                bits = self._gradient_bits(kept)
                x_bits = self.input_bits if number == 0 else self.stages[number - 1].form.bits
                gradients.append((stage.weights, by_weights, frac_e + kept.frac_x, bits + x_bits - 1))
                if stage.bias is not None:
                    gradients.append((stage.bias, by_bias, frac_e, bits))
            if number > 0:
                before = self.stages[number - 1]
                acc, added = stage.input_error(error, kept.x.shape)
                acc = acc * error_mask(
                    kept.x, before.form.bits, has_relu=before.has_relu, saturation=self.saturation_mask
                )
                error, frac_e = self._round_error(
                    acc, frac_e + added, stage.input_scale, stage.layer, calibrate=calibrate
                )
        return gradients

    def _gradient_bits(self, kept: Saved) -> int:
        """Bits without sign of a sum of errors, one from each sample and position of a stage's output."""
        positions = kept.out.values.shape[0] * kept.out.values.shape[1] * kept.out.values.shape[2]
        return self.error_bits - 1 + positions.bit_length()

    def _round_error(
        self, acc: Ints, frac_acc: int, scale: DelayedScale, layer: int, *, calibrate: bool
    ) -> tuple[Ints, int]:
        """Requantize an error at the scale it has, never finer than its sums; then let the scale see them."""
        if calibrate:
            scale.frac = fitting_frac(largest(acc), frac_acc, self.error_bits)
        frac = min(scale.frac, frac_acc)
        words = self.words(layer, INPUT_ERROR, acc.shape, stochastic=self.error_stochastic)
        rounded, _ = requantize_array(acc, frac_acc - frac, self.error_bits, words)
        if not calibrate:
            scale.observe(largest(acc), frac_acc, self.error_bits)
        return rounded, frac

    def calibrate(self, x: Ints, labels: Sequence[int], *, fit_momentum: bool) -> None:
        """Fit the error scales, and if asked the momentum forms, to the first batch; nothing else changes."""
        logits, saved = self.forward(x)
        error, frac, _ = self.loss_error(logits, labels, calibrate=True)
        gradients = self.backward(error, frac, saved, calibrate=True)
        peaks = {id(parameter): (largest(gradient), frac) for parameter, gradient, frac, _ in gradients}
        if not fit_momentum or not any(peak for peak, _ in peaks.values()):
            return
        for stage in self.stages:
            if stage.weights is not None:
                form = stage.weights.momentum_form
                found = [peaks[id(parameter)] for parameter in stage.parameters]
                form.frac = momentum_frac_that_fits(found, len(labels), form.bits)

    def train_step(self, x: Ints, labels: Sequence[int], rule: Rule) -> tuple[int, int]:
        """One step on one batch: forward, loss error, backward, every update; returns loss sum and correct answers."""
        logits, saved = self.forward(x)
        error, frac_error, loss = self.loss_error(logits, labels)
        for parameter, gradient, frac, bits in self.backward(error, frac_error, saved):
            words = self._parameter_words(parameter, rule)
            parameter.update(gradient, frac, rule, len(labels), words, bits)
        for stage, kept in zip(self.stages, saved, strict=True):
            if stage.op != "identity":
                stage.form.note(kept.out.saturated, kept.out.values.size, largest(kept.out.values))
        self.step += 1
        correct = sum(row.index(max(row)) == label for row, label in zip(logits.tolist(), labels, strict=True))
        return loss, correct

    def adapt(self, rule: Rule) -> None:
        """Adapt every form in layer order; an output is never finer than the sums it is rounded from."""
        frac_x = self.input_frac
        for stage in self.stages:
            if stage.weights is not None:
                change, momentum_change = stage.weights.form.adapt(), stage.weights.momentum_form.adapt()
                if self.momentum_follows:
                    stage.weights.momentum_form.frac += change
                    momentum_change = change
                for parameter in stage.parameters:
                    parameter.regrid(change, momentum_change, self._parameter_words(parameter, rule))
            if stage.op != "identity":
                stage.form.adapt()
                if stage.weights is not None and stage.form.adaptive:
                    stage.form.frac = max(min(stage.form.frac, frac_x + stage.weights.form.frac), stage.form.coarsest)
            frac_x = stage.form.frac

    def _parameter_words(self, parameter: Parameter, rule: Rule) -> Words:
        layer = next(stage.layer for stage in self.stages if any(parameter is own for own in stage.parameters))
        return lambda kind: self.words(layer, kind, parameter.raw.shape, stochastic=rule.stochastic)
