"""What the counters of a run mean, in words: lines for whoever watches, with a way out.

What does not belong here: counting, and anything that training depends on.
"""

from __future__ import annotations

import math
from typing import Any, Final

from fxptrain.nn.spec import FormatSpec, OptimizerSpec
from fxptrain.run.metrics import share

SATURATED: Final = 0.01  # of a tensor's values: a line from here on
DEAD: Final = 0.99  # of the updates that left a weight where it was
STUCK: Final = 0.98  # of the loss of guessing
CHANCE: Final = 1.2  # times the share of guessing
COARSE: Final = 4  # bits from which values of one step are no sign
NAMED: Final = 3  # layers in a line
HURRY: Final = "--set formats.saturation=10"
START: Final = "try a smaller --lr, --set model.init=kaiming, or finer formats"


def of_epoch(
    record: dict[str, Any], classes: int, loss: str, optimizer: OptimizerSpec, formats: FormatSpec, *, last: bool,
    watch: str = "loss",
) -> list[str]:  # fmt: skip
    """Lines on a finished epoch, as its record in the metrics has it.

    Parameters
    ----------
    record : dict
        Of the epoch.
    classes : int
        How many there are.
    loss : str
        As in the recipe.
    optimizer : OptimizerSpec
    formats : FormatSpec
        Likewise.
    last : bool
        Whether no epoch follows. Before, formats may still move, so what saturates is not told.
    watch : str
        What is followed on the validation split.

    Examples
    --------
    >>> record = {"epoch": 1, "loss": 2.3, "accuracy": 0.1, "lr": 0.5, "tensors": []}
    >>> of_epoch(record, 10, "cross-entropy", OptimizerSpec(), FormatSpec(), last=False)
    ['the loss (2.30) has not left that of guessing, ln(10) = 2.30, in one epoch: try another --lr than 0.5.']
    """
    lines = []
    still = f"the validation {watch} no longer {'rises' if watch == 'accuracy' else 'falls'}"
    guess = math.log(classes) if classes > 1 else 0.0
    if record["epoch"] == 1 and loss == "cross-entropy" and record["loss"] >= STUCK * guess > 0:
        lines.append(
            f"the loss ({record['loss']:.2f}) has not left that of guessing, ln({classes}) = {guess:.2f}, in one "
            f"epoch: try another --lr than {record['lr']:.3g}."
        )
    if record.get("lr_halved"):
        lines.append(f"{still}: the learning rate is halved, to {record['lr'] / 2:.3g}.")
    if record.get("stopped"):
        lines.append(f"stopped early after epoch {record['epoch']}: {still}.")
    tensors = record["tensors"]
    return lines + (of_tensors(tensors, optimizer, formats) if last else without_signal(tensors))


def of_tensors(tensors: list[dict[str, Any]], optimizer: OptimizerSpec, formats: FormatSpec) -> list[str]:
    """Lines on tensors that carry no signal, saturate, or whose weights do not move.

    Stochastic rounding moves weights by updates that mostly round to nothing; half to even never does, unless what it
    takes goes back into the momentum. Outputs that saturate a little wait less for a wider format with `saturation`.

    Examples
    --------
    >>> row = {"total": 1000, "saturated": 43, "max_raw": 127, "name": "3.conv2d.output", "total_bits": 8}
    >>> of_tensors([row], OptimizerSpec(), FormatSpec())
    ['4.3% of the outputs of 3.conv2d saturate: try --set formats.saturation=10, or --set formats.activation_bits=10.']
    >>> of_tensors([row], OptimizerSpec(), FormatSpec(saturation=10))
    ['4.3% of the outputs of 3.conv2d saturate: try --set formats.activation_bits=10.']
    """
    lines, loses = without_signal(tensors), optimizer.method == "hteqpu" and not optimizer.error_feedback
    for tensor in tensors:
        layer, _, kind = tensor["name"].rpartition(".")
        if kind == "momentum":  # loses nothing by a few saturated values
            continue
        what = {"output": "outputs", "error": "errors"}.get(kind, kind)
        of = {"output": "activation", "error": "error"}.get(kind, "param")
        saturated = share(tensor["saturated"], tensor["total"]) or 0.0
        still = share(tensor.get("updates_to_zero", 0), tensor.get("updates", 0)) or 0.0
        wider = f"--set formats.{of}_bits={tensor['total_bits'] + 2}"
        asked = 0.0 if formats.saturation is None else 2.0 ** (1 - formats.saturation)  # twice the share that may
        if saturated >= max(SATURATED, asked):
            waits = kind == "output" and formats.mode == "auto" and formats.saturation is None
            way = f"{HURRY}, or {wider}" if waits else wider
            lines.append(f"{saturated:.1%} of the {what} of {layer} saturate: try {way}.")
        if still >= DEAD and loses:
            lines.append(
                f"{still:.1%} of the updates of {layer} round to nothing: try {wider}, --method sqpu, or "
                "--set optimizer.error_feedback=true."
            )
    return lines


def without_signal(tensors: list[dict[str, Any]]) -> list[str]:
    """Lines on tensors through which nothing comes, forward or back: all zero, or no more than what rounding makes.

    Where not even the loss has errors, nothing is left to be learned, which is no fault.

    Examples
    --------
    >>> errors = [{"name": f"{i}.conv2d.error", "total": 9, "max_raw": i // 4} for i in range(5)]
    >>> without_signal(errors)[0][:68]
    'all errors of 0.conv2d, 1.conv2d, 2.conv2d and 1 more are zero: they'
    """
    lines, untaught, taught = [], [], False
    for tensor in tensors:
        layer, _, kind = tensor["name"].rpartition(".")
        largest = tensor["max_raw"] if tensor["total"] else None
        if largest == 0 and kind in ("output", "weights"):
            lines.append(f"all {kind.rstrip('s')}s of {layer} are zero: nothing behind it can learn; {START}.")
        elif largest == 1 and kind == "output" and tensor["total_bits"] >= COARSE:
            lines.append(f"no output of {layer} is more than a step of its format: rounding drowns it; {START}.")
        elif kind == "error" and largest is not None:
            taught = largest > 0
            untaught += [] if taught else [layer]
    if untaught and taught:
        more = f" and {len(untaught) - NAMED} more" if len(untaught) > NAMED else ""
        lines.append(f"all errors of {', '.join(untaught[:NAMED])}{more} are zero: they learn nothing; {START}.")
    return lines


def is_chance(accuracy: float, counts: list[int]) -> bool:
    """Whether an accuracy is that of guessing; `counts` are the samples of each class."""
    present = sum(count > 0 for count in counts)
    return present > 1 and accuracy <= CHANCE / present


def of_result(accuracy: float, counts: list[int]) -> list[str]:
    """A line where the test accuracy is that of guessing; `counts` are the test samples of each class.

    Examples
    --------
    >>> of_result(0.11, [10, 10, 10, 10, 10, 10, 10, 10, 10, 10])
    ['training ended at chance: 11.0% of 10 classes. Look at the learning rate, the labels, and `fxptrain info RUN`.']
    """
    if not is_chance(accuracy, counts):
        return []
    present = sum(count > 0 for count in counts)
    return [
        f"training ended at chance: {accuracy:.1%} of {present} classes. Look at the learning rate, the labels, and "
        "`fxptrain info RUN`."
    ]
