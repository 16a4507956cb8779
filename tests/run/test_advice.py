"""What counters mean in words: who is told what, and that a healthy run is told nothing."""

from typing import Any

import pytest

from fxptrain.nn.spec import FormatSpec, OptimizerSpec
from fxptrain.run.advice import of_epoch, of_result, of_tensors

SQPU = OptimizerSpec()


def tensor(name: str, **changes: Any) -> dict[str, Any]:
    """Counters of a healthy tensor, with changes."""
    return {"name": name, "total": 1000, "saturated": 0, "max_raw": 100, "total_bits": 8} | changes


def record(**changes: Any) -> dict[str, Any]:
    """A healthy first epoch, with changes."""
    return {"epoch": 1, "loss": 1.0, "accuracy": 0.6, "lr": 0.1, "tensors": [tensor("0.conv2d.output")]} | changes


def test_a_healthy_run_is_told_nothing() -> None:
    """No line without a reason."""
    assert of_epoch(record(), 10, "cross-entropy", SQPU, FormatSpec(), last=True) == []
    assert of_epoch(record(epoch=2, loss=2.31), 10, "cross-entropy", SQPU, FormatSpec(), last=True) == []
    assert of_epoch(record(loss=2.31), 10, "squared-error", SQPU, FormatSpec(), last=True) == []
    learned = [tensor(f"{i}.linear.error", max_raw=0) for i in range(3)]
    assert of_epoch(record(loss=0.0, tensors=learned), 10, "cross-entropy", SQPU, FormatSpec(), last=True) == []
    assert of_result(0.9, [5, 5]) == of_result(1.0, [10, 0]) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"loss": 2.31}, "has not left that of guessing, ln(10) = 2.30"),
        ({"lr_halved": True}, "the learning rate is halved, to 0.05"),
        ({"stopped": True}, "stopped early after epoch 1"),
        ({"tensors": [tensor("3.conv2d.output", max_raw=0)]}, "all outputs of 3.conv2d are zero"),
        ({"tensors": [tensor("3.conv2d.weights", saturated=50)]}, "5.0% of the weights of 3.conv2d saturate: try --set "
         "formats.param_bits=10"),
        ({"tensors": [tensor("3.conv2d.weights", max_raw=0)]}, "all weights of 3.conv2d are zero: nothing behind it"),
        ({"tensors": [tensor("3.conv2d.output", max_raw=1)]}, "no output of 3.conv2d is more than a step"),
        ({"tensors": [tensor(f"{i}.conv2d.error", max_raw=i // 7) for i in (3, 5, 7)]},
         "all errors of 3.conv2d, 5.conv2d are zero"),
        ({"tensors": [tensor("3.conv2d.error", saturated=50)]}, "try --set formats.error_bits=10"),
    ],
)  # fmt: skip
def test_what_is_told(changes: dict[str, Any], line: str) -> None:
    """Each sign has its line, with a way out."""
    (told,) = of_epoch(record(**changes), 10, "cross-entropy", SQPU, FormatSpec(), last=True)
    assert line in told


def test_formats_in_motion() -> None:
    """What saturates before the end is not told, as formats may still move; what is dead is."""
    tensors = [tensor("0.conv2d.output", saturated=50), tensor("1.linear.output", max_raw=0)]
    (told,) = of_epoch(record(tensors=tensors), 10, "cross-entropy", SQPU, FormatSpec(), last=False)
    assert told.startswith("all outputs of 1.linear are zero")


def test_chance() -> None:
    """The accuracy of guessing among the classes there are is told as such."""
    (told,) = of_result(0.5, [5, 5, 0])
    assert told.startswith("training ended at chance: 50.0% of 2 classes")


def test_updates_that_vanish() -> None:
    """Half to even loses small updates for good; stochastic rounding does not, and is not blamed."""
    row = tensor("1.linear.weights", updates=1000, updates_to_zero=999)
    assert of_tensors([row], SQPU, FormatSpec()) == []
    (told,) = of_tensors([row], OptimizerSpec(method="hteqpu"), FormatSpec())
    assert told.startswith("99.9% of the updates of 1.linear round to nothing")
    assert of_tensors([row], OptimizerSpec(method="hteqpu", error_feedback=True), FormatSpec()) == []
