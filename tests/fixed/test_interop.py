"""Inside NumPy: what has an exact meaning works, the rest says what to do instead."""

import numpy as np
import pytest

from fxptrain.errors import FormatError, FxptrainError
from fxptrain.fixed import FxP, FxPArray
from fxptrain.fixed.interop import COUNTING, MOVING, PADDED_WITH

A = FxPArray([[24, -4], [0, 8]], FxP(8, 4))


@pytest.mark.parametrize(
    ("ufunc", "method"),
    [
        (np.add, "__add__"),
        (np.subtract, "__sub__"),
        (np.multiply, "__mul__"),
        (np.matmul, "__matmul__"),
        (np.maximum, "maximum"),
        (np.minimum, "minimum"),
    ],
)
def test_binary_functions_are_the_operators(ufunc, method):
    """``np.add(a, b)`` is ``a + b``."""
    result = ufunc(A, A.T)
    expected = getattr(A, method)(A.T)
    assert result.format == expected.format
    assert result.raw.tolist() == expected.raw.tolist()


def test_unary_functions_and_comparisons():
    """Negative, absolute, positive, and comparisons with the integer on either side."""
    assert np.negative(A).raw.tolist() == (-A).raw.tolist()
    assert np.abs(A).raw.tolist() == abs(A).raw.tolist()
    assert np.positive(A) is A
    assert np.greater(A, 0).tolist() == np.less(0, A).tolist() == [[True, False], [False, True]]
    assert np.equal(A, A).all()
    assert not np.not_equal(A, A).any()
    assert np.subtract(np.int64(1), A).raw.tolist() == (1 - A).raw.tolist()
    assert np.maximum(0, A).raw.tolist() == np.maximum(A, 0).raw.tolist() == [[24, 0], [0, 8]]


def test_functions_that_move_elements():
    """Join, stack, reshape, transpose, sum, and questions about shape and order."""
    assert np.concatenate([A, A]).shape == (4, 2)
    assert np.concatenate([A, A], axis=1).format == FxP(8, 4)
    assert np.stack([A, A], axis=2).raw[..., 1].tolist() == A.raw.tolist()
    assert np.reshape(A, (4,)).raw.tolist() == [24, -4, 0, 8]
    assert np.transpose(A).raw.tolist() == A.T.raw.tolist()
    assert np.sum(A, axis=0).raw.tolist() == [24, 4]
    assert (np.shape(A), np.ndim(A), np.size(A)) == ((2, 2), 2, 4)
    assert np.argmax(A) == 0
    assert np.argmin(A, axis=1).tolist() == [1, 0]


OPTIONS = {
    np.broadcast_to: {"shape": (3, 2, 2)},
    np.expand_dims: {"axis": 0},
    np.moveaxis: {"source": 0, "destination": 1},
    np.repeat: {"repeats": 2},
    np.roll: {"shift": 1},
    np.swapaxes: {"axis1": 0, "axis2": 1},
    np.take: {"indices": [0]},
    np.tile: {"reps": 2},
}


def test_more_functions_that_move_elements():
    """What only moves elements keeps the format; sums keep their axes where they are asked to."""
    assert np.sum(A, axis=0, keepdims=True).raw.tolist() == [[24, 4]]
    assert np.sum(A, axis=-1, keepdims=True).raw.tolist() == [[20], [8]]
    assert np.sum(A, keepdims=True).raw.tolist() == [[28]]
    assert np.sum(A, axis=(0, 1), keepdims=True).format == np.sum(A).format
    assert np.squeeze(np.expand_dims(A, 0)).raw.tolist() == A.raw.tolist()
    assert np.take(A, [1], axis=1).raw.tolist() == [[-4], [8]]
    assert np.flip(A, axis=1).raw.tolist() == [[-4, 24], [8, 0]]
    assert np.vstack([A, A]).shape == (4, 2)
    assert np.hstack([A, A]).shape == (2, 4)
    assert np.where([[True, False], [False, True]], A, A).raw.tolist() == A.raw.tolist()
    for function in MOVING:
        moved_by = OPTIONS.get(function, {})
        moved = function(A, **moved_by)
        assert moved.format == A.format
        assert moved.raw.tolist() == function(A.raw, **moved_by).tolist()


def test_functions_that_choose_and_count():
    """Largest elements, parts, zeros around and bounds are exact in the array's format; counts are plain."""
    assert np.max(A).raw == np.amax(A.raw)
    assert np.max(A).format == A.format
    assert np.min(A, axis=1, keepdims=True).raw.tolist() == np.min(A.raw, axis=1, keepdims=True).tolist()
    assert [part.raw.tolist() for part in np.split(A, 2)] == [part.tolist() for part in np.split(A.raw, 2)]
    assert {part.format for part in np.array_split(A, 3)} == {A.format}
    for mode in PADDED_WITH:
        assert np.pad(A, 1, mode=mode).raw.tolist() == np.pad(A.raw, 1, mode=mode).tolist()
        assert np.pad(A, 1, mode=mode).format == A.format
    clipped = np.clip(A, -1, 1)
    assert clipped.dequantize().tolist() == np.clip(A.dequantize(), -1, 1).tolist()
    assert np.clip(A, 0, None).raw.tolist() == np.maximum(A.raw, 0).tolist()
    for function in COUNTING:
        found, wanted = function(A), function(A.raw)
        assert np.array_equal(np.asarray(found), np.asarray(wanted))
    finer = FxPArray(A.raw.astype(np.int64) << 2, FxP(16, 6))
    assert np.array_equal(A, finer)
    assert not np.array_equal(A, FxPArray(A.raw, FxP(8, 5)))
    assert not np.array_equal(A, A[:1])


def test_integer_arrays_do_not_mix_in_through_numpy():
    """A bare array on the left is refused like one on the right."""
    with pytest.raises(FormatError, match="does not combine with the int64 array"):
        np.zeros((2, 2), np.int64) + A
    with pytest.raises(FxptrainError, match="no exact fixed-point result"):
        np.divide(A, 2)
    with pytest.raises(FxptrainError, match="Division by zero: 1 of 4"):
        np.divide(2, A)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: np.sqrt(A), "`np.sqrt` has no exact fixed-point form"),
        (lambda: np.add.reduce(A), "`np.add.reduce` has no exact"),
        (lambda: np.add(A, A, out=np.zeros((2, 2))), "`np.add` with out has no exact"),
        (lambda: np.mean(A), "`np.mean` has no exact"),
        (lambda: np.asarray(A), "does not become a plain array silently"),
        (lambda: np.array(A, dtype=float), "Work on `.raw` with its `.format`, or on `.dequantize"),
        (
            lambda: np.concatenate([A, FxPArray([[1, 2]], FxP(8, 5))]),
            r"arrays of one format, not FxP\(8, 4\) and FxP\(8, 5\)",
        ),
        (lambda: np.sum(A, dtype=int), "`np.sum` with dtype has no exact"),
        (lambda: np.max(A, initial=3), "`np.max` with initial has no exact"),
        (lambda: np.min(A[:0]), "`np.min` of nothing has no exact"),
        (
            lambda: np.pad(A, 1, constant_values=1),
            "`np.pad` pads with zeros, or by mode edge, reflect",
        ),
        (lambda: np.clip(A, 0.3, None), "does not combine with the float"),
        (lambda: np.take(A, [0], out=np.zeros(1)), "`np.take` needs a fixed-point array first, and no `out`"),
        (lambda: np.where(A, A, A), "`np.where` takes a plain condition and two fixed-point arrays"),
        (lambda: np.where([True, False], A, 1), r"`np.where` joins arrays of one format, not FxP\(8, 4\) and int"),
        (lambda: np.stack([A, np.zeros((2, 2))]), r"not FxP\(8, 4\) and ndarray"),
    ],
)
def test_everything_else(call, message):
    """Functions without an exact result are refused with a way out."""
    with pytest.raises(FormatError, match=message):
        call()


def test_truth_of_many_is_ambiguous():
    """As for NumPy's arrays."""
    with pytest.raises(ValueError, match="ambiguous"):
        bool(A)
