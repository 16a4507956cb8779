"""A sequential model as fused stages, forward, backward and one training step, all integers equal to the engine's.

A stage is one linear operation with the max-pool and ReLU behind it; it owns the streams of its layer number
(16 * layer + kind). What does not belong here: how formats are chosen and how a loss is computed (an argument).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from . import conv, linear, pool
from .adapt import DelayedScale, fitting_frac
from .containers import Ints, exact, largest, zeros
from .draws import draw_array
from .loss import integer_cross_entropy
from .multiplier import Multiplier
from .rounding import requantize_array
from .stage import StageOutput, add_bias, error_mask, fused_stage
from .update import momentum_update, weight_update

Loss = Callable[[list[int], int, int], tuple[list[int], int, int]]  # (logits, frac, label) -> errors, their frac, loss
FORWARD, INPUT_ERROR = 0, 1


@dataclass
class Parameter:
    """One tensor of weights or biases with its momentum, and with STE its master copy."""

    raw: Ints
    bits: int
    frac: int
    momentum: Ints
    momentum_bits: int
    momentum_frac: int
    momentum_kind: int = 2
    kind: int = 3
    master: Ints | None = None
    master_frac: int = 0

    def update(self, gradient: Ints, frac_g: int, rule: Rule, batch: int, words: Callable[[int], Ints | None]) -> None:
        """Momentum, then weights, element by element; `words` gives the draws of a kind of site."""
        target = self.raw if self.master is None else self.master
        frac_w, bits = (self.frac, self.bits) if self.master is None else (self.master_frac, 32)
        momentum_words, weight_words = words(self.momentum_kind), words(self.kind)
        for index in range(target.size):
            first = None if momentum_words is None else momentum_words.reshape(-1)[index]
            second = None if weight_words is None else weight_words.reshape(-1)[index]
            m = momentum_update(
                self.momentum.reshape(-1)[index],
                gradient.reshape(-1)[index],
                target.reshape(-1)[index],
                fracs=(self.momentum_frac, frac_g, frac_w),
                mu=rule.mu,
                batch=batch,
                decay=rule.decay,
                bits=self.momentum_bits,
                draw=first,
            )
            self.momentum.reshape(-1)[index] = m
            target.reshape(-1)[index] = weight_update(
                target.reshape(-1)[index],
                m,
                frac_w=frac_w,
                frac_m=self.momentum_frac,
                gamma=rule.gamma,
                bits=bits,
                draw=second,
            )
        if self.master is not None:
            self.raw = requantize_array(self.master, self.master_frac - self.frac, self.bits)[0]


@dataclass(frozen=True)
class Rule:
    """Constants and roundings of the update."""

    mu: Multiplier
    decay: Multiplier
    gamma: Multiplier
    stochastic: bool  # SQPU: yes; HTEQPU and STE: no


@dataclass
class Stage:
    """One linear operation (or none: "identity") and what is fused behind it."""

    op: str
    layer: int
    bits: int
    frac: int
    weights: Parameter | None = None
    bias: Parameter | None = None
    size: tuple[int, int] = (1, 1)  # of an average pool
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    max_pool: tuple[tuple[int, int], tuple[int, int]] | None = None
    has_relu: bool = False
    input_scale: DelayedScale = field(default_factory=lambda: DelayedScale(0))

    def sums(self, x: Ints, frac_x: int) -> tuple[Ints, int]:
        """Accumulators and their fraction bits."""
        if self.op == "identity":
            return exact(x), frac_x
        if self.op in ("avgpool2d", "global-avgpool"):
            acc, shift = (
                pool.global_avgpool_forward(x) if self.op == "global-avgpool" else
                pool.avgpool2d_forward(x, self.size, self.stride)
            )
            return acc, frac_x + shift
        assert self.weights is not None
        w = self.weights.raw
        if self.op == "linear":
            products = linear.linear_forward(x.reshape(x.shape[0], -1), w)
        elif self.op == "conv2d":
            products = conv.conv2d_forward(x, w, None, self.stride, self.padding)
        else:
            products = conv.depthwise_forward(x, w, None, self.stride, self.padding)
        return add_bias(products, None if self.bias is None else self.bias.raw, self.weights.frac, frac_x)

    def input_error(self, error: Ints, shape: tuple[int, ...]) -> tuple[Ints, int]:
        """Accumulators of the error by the input and the bits they add to the error's fraction bits."""
        if self.op == "identity":
            return exact(error), 0
        if self.op == "global-avgpool":
            return pool.global_avgpool_input_error(error, shape)
        if self.op == "avgpool2d":
            return pool.avgpool2d_input_error(error, shape, self.size, self.stride)
        assert self.weights is not None
        w = self.weights.raw
        if self.op == "linear":
            return linear.linear_input_error(error, w).reshape(shape), self.weights.frac
        if self.op == "conv2d":
            return conv.conv2d_input_error(error, w, shape, self.stride, self.padding), self.weights.frac
        return conv.depthwise_input_error(error, w, shape, self.stride, self.padding), self.weights.frac

    def gradients(self, x: Ints, error: Ints) -> tuple[Ints, Ints]:
        """Exact gradients by weights and bias."""
        assert self.weights is not None
        kernel = self.weights.raw.shape[:2]
        if self.op == "linear":
            return linear.linear_weight_gradient(x.reshape(x.shape[0], -1), error), linear.linear_bias_gradient(error)
        function = conv.conv2d_weight_gradient if self.op == "conv2d" else conv.depthwise_weight_gradient
        return function(x, error, kernel, self.stride, self.padding), conv.conv2d_bias_gradient(error)


@dataclass(frozen=True)
class Saved:
    """What a stage's forward keeps for its backward: input and its fraction bits, output, shape before the pool."""

    x: Ints
    frac_x: int
    out: StageOutput
    full_shape: tuple[int, ...]


@dataclass
class NaiveModel:
    """Stages in order, with the format of the input and of the errors."""

    stages: list[Stage]
    input_frac: int
    error_bits: int
    layers: int  # number of layers as specified; the loss counts as one more
    loss: Loss = integer_cross_entropy
    loss_scale: DelayedScale = field(default_factory=lambda: DelayedScale(0))
    seed: int = 0
    saturation_mask: bool = True
    forward_stochastic: bool = True
    error_stochastic: bool = True

    def words(self, layer: int, kind: int, step: int, shape: tuple[int, ...], *, stochastic: bool) -> Ints | None:
        """Draws of one rounding site, or None for half to even."""
        return draw_array(self.seed, 16 * layer + kind, step, shape) if stochastic else None

    def forward(self, x: Ints, step: int) -> tuple[Ints, list[Saved]]:
        """Logits and what backward needs."""
        value, frac, saved = exact(x), self.input_frac, []
        for stage in self.stages:
            acc, frac_acc = stage.sums(value, frac)
            shape = acc.shape if stage.max_pool is None else pool.pooled_shape(acc.shape, *stage.max_pool)
            words = self.words(stage.layer, FORWARD, step, shape, stochastic=self.forward_stochastic)
            out = fused_stage(
                acc, frac_acc - stage.frac, stage.bits, pool=stage.max_pool, has_relu=stage.has_relu, draws=words
            )
            saved.append(Saved(value, frac, out, acc.shape))
            value, frac = out.values, stage.frac
        return value.reshape(value.shape[0], -1), saved

    def backward(
        self, error: Ints, frac_e: int, saved: list[Saved], step: int, *, calibrate: bool = False
    ) -> list[tuple[Ints, Ints, int] | None]:
        """Gradients (weights, bias, fraction bits of the error) of every stage; moves the error scales.

        With `calibrate` a scale is set to fit its own accumulators before they are rounded.
        """
        gradients: list[tuple[Ints, Ints, int] | None] = [None] * len(self.stages)
        for number in reversed(range(len(self.stages))):
            stage, kept = self.stages[number], saved[number]
            error = error.reshape(kept.out.values.shape)
            if stage.max_pool is not None:
                assert kept.out.window is not None
                error = pool.maxpool2d_input_error(error, kept.out.window, kept.full_shape, *stage.max_pool)
            if stage.weights is not None:
                gradients[number] = (*stage.gradients(kept.x, error), frac_e)
            if number > 0:
                error, frac_e = self._input_error(number, error, frac_e, saved, step, calibrate=calibrate)
        return gradients

    def _input_error(
        self, number: int, error: Ints, frac_e: int, saved: list[Saved], step: int, *, calibrate: bool
    ) -> tuple[Ints, int]:
        """Error by the input of stage `number`, masked where the stage before it must not learn."""
        stage, before = self.stages[number], self.stages[number - 1]
        acc, added = stage.input_error(error, saved[number].x.shape)
        mask = error_mask(
            saved[number].x, before.bits, has_relu=before.has_relu, saturation=self.saturation_mask
        )
        acc, frac_acc = acc * mask, frac_e + added
        return self._round_error(acc, frac_acc, stage.input_scale, stage.layer, step, calibrate=calibrate)

    def _round_error(
        self, acc: Ints, frac_acc: int, scale: DelayedScale, layer: int, step: int, *, calibrate: bool
    ) -> tuple[Ints, int]:
        """Requantize an error at the scale it has, never finer than its sums; then let the scale see them."""
        if calibrate:
            scale.frac, scale.calm = fitting_frac(largest(acc), frac_acc, self.error_bits), 0
        frac = min(scale.frac, frac_acc)
        words = self.words(layer, INPUT_ERROR, step, acc.shape, stochastic=self.error_stochastic)
        rounded, _ = requantize_array(acc, frac_acc - frac, self.error_bits, words)
        if not calibrate:
            scale.observe(largest(acc), frac_acc, self.error_bits)
        return rounded, frac

    def loss_error(self, logits: Ints, labels: Sequence[int], step: int) -> tuple[Ints, int, int]:
        """Requantized error of the logits, its fraction bits, and the loss summed over the batch."""
        acc, frac_acc, total = zeros(logits.shape), 0, 0
        for s, label in enumerate(labels):
            acc[s], frac_acc, loss = self.loss(logits[s].tolist(), self.stages[-1].frac, int(label))
            total += loss
        error, frac = self._round_error(acc, frac_acc, self.loss_scale, self.layers, step, calibrate=False)
        return error, frac, total

    def train_step(self, x: Ints, labels: Sequence[int], step: int, rule: Rule) -> tuple[int, int]:
        """One step on one batch: forward, loss error, backward, every update; returns loss sum and correct answers."""
        logits, saved = self.forward(x, step)
        error, frac_error, loss = self.loss_error(logits, labels, step)
        gradients = self.backward(error, frac_error, saved, step)
        for stage, found, kept in zip(self.stages, gradients, saved, strict=True):
            if found is None:
                continue
            weight_gradient, bias_gradient, frac_e = found
            for parameter, gradient, frac in (
                (stage.weights, weight_gradient, frac_e + kept.frac_x),
                (stage.bias, bias_gradient, frac_e),
            ):
                if parameter is not None:
                    parameter.update(
                        gradient,
                        frac,
                        rule,
                        len(x),
                        lambda kind, stage=stage, shape=parameter.raw.shape: self.words(  # type: ignore[misc]
                            stage.layer, kind, step, shape, stochastic=rule.stochastic
                        ),
                    )
        correct = sum(row.index(max(row)) == label for row, label in zip(logits.tolist(), labels, strict=True))
        return loss, correct
