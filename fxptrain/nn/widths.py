"""Whether every sum of a model is exact, shifts included, and how coarse a moving format may become for that.

What does not belong here: the products' own sums, which each stage checks (`Stage.check_widths`), and what the kernels
are made for whatever the layers (`limits`).
"""

from __future__ import annotations

from collections.abc import Sequence

from fxptrain.errors import FormatError, RecipeError
from fxptrain.fixed.format import FxP
from fxptrain.fixed.rounding import MAX_SHIFT
from fxptrain.nn.layers.accumulate import INT64_BITS
from fxptrain.nn.layers.alignment import SUM_BITS
from fxptrain.nn.layers.contract import Stage, elements_of
from fxptrain.nn.losses import LossRule

INT64 = 1 << 63
OUTPUTS = 1 << 17  # of a batch, samples times classes, for which moving formats keep the loss in int64
WAY_OUT = "Use fewer bits for the weights or activations, or binary points that lie closer together."


# Outputs -------------------------------------------------------------------------------------------------------------


def _check_output(stage: Stage) -> None:
    """Raise `FormatError` unless an exact sum holds those of a stage while they are shifted and rounded."""
    if not stage.rounds:
        return
    largest, shift = stage.largest_sum << stage.function.added_frac, stage.shift
    needed = (largest + (1 << shift) if shift > 0 else largest << -shift).bit_length()
    held = "int64 has" if stage.held_bits == INT64_BITS else "two limbs have"
    farthest = MAX_SHIFT + stage.held_bits - INT64_BITS
    if needed > stage.held_bits or shift > farthest:
        moved = f"{abs(shift)} bits to the {'right' if shift > 0 else 'left'}"
        raise FormatError(
            f"Layer {stage.name!r}: output sums of up to {largest.bit_length()} bits are shifted {moved}, which takes "
            f"{needed}; {held} {stage.held_bits}, and {farthest} is the farthest to the right. {WAY_OUT}"
        )


# Losses --------------------------------------------------------------------------------------------------------------


def _check_loss(loss: LossRule, form: FxP, samples: int, outputs: int) -> None:
    """Raise `FormatError` unless int64 holds the loss sum of a batch."""
    if loss.largest(form, samples, outputs) >= INT64:
        raise FormatError(
            f"The {loss.name} loss of outputs in {form!r} can leave int64 in a batch of {samples} samples and "
            f"{outputs} outputs. Use fewer activation bits, another binary point or a smaller batch."
        )


# Models --------------------------------------------------------------------------------------------------------------


def check_widths(stages: Sequence[Stage], loss: LossRule, batch: int) -> None:
    """Raise where a sum of a batch of that size cannot be proved to stay exact.

    Parameters
    ----------
    stages : sequence of Stage
        With formats and parameters.
    loss : LossRule
        What is computed of the last stage's outputs.
    batch : int
        Samples.

    Raises
    ------
    FormatError
        Names layer, bits and way out.
    RecipeError
        If the batch needs more draws than a step has.
    """
    for stage in stages:
        stage.check_widths(batch)
        _check_output(stage)
    _check_loss(loss, stages[-1].y_form.format, batch, stages[-1].out_elements)
    elements = max(max(stage.out_elements, *map(elements_of, stage.in_shapes)) for stage in stages) * batch
    if elements >= 1 << 32:
        raise RecipeError(
            f"`batch_size` (={batch}) needs {elements} draws a step; a step has 2**32. Use a smaller batch."
        )


def check_error_sum(reader: str, writer: str, largest: int, added: int) -> None:
    """Raise `FormatError` where int64 cannot hold the sums of an error on their way through a writer's function."""
    bits = (largest << added).bit_length()
    if bits > SUM_BITS:
        raise FormatError(
            f"Layer {reader!r}: input errors of up to {largest.bit_length()} bits gain {added} on their way through "
            f"{writer!r}; {bits} are more than the {SUM_BITS} that int64 has for them. Use fewer bits for weights or "
            "errors, or a function that adds fewer."
        )


def keep_in_range(stages: Sequence[Stage], loss: LossRule) -> None:
    """Limit the binary points of moving formats to those whose sums and losses int64 holds.

    Up to 16 bits that is no limit: only wide formats whose values have run away would move so far.
    """
    for stage in stages:
        stage.keep_inputs_in_range()
    form, classes = stages[-1].y_form, stages[-1].out_elements
    if form.adaptive:
        held = (
            frac
            for frac in range(form.min_frac, form.max_frac + 1)
            if loss.largest(form.format.with_frac(frac), -(-OUTPUTS // classes), classes) < INT64
        )
        fracs = list(held) or [form.format.frac_bits]
        form.min_frac, form.max_frac = fracs[0], fracs[-1]
        form.format = form.format.with_frac(min(max(form.format.frac_bits, form.min_frac), form.max_frac))
