"""The oracle is judged by hand cases and identities that do not depend on it: sums, pools, stages, a model."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import naive

LENGTHS = st.integers(1, 6)


def inner(a, b):
    """Exact inner product of two integer arrays."""
    return sum((p * q for p, q in zip(np.ravel(a).tolist(), np.ravel(b).tolist(), strict=True)), 0)


def integers(data, shape, bound=9):
    """Random integer array."""
    count = math.prod(shape)
    values = data.draw(st.lists(st.integers(-bound, bound), min_size=count, max_size=count))
    return naive.exact(np.array(values, dtype=np.int64).reshape(shape))


@st.composite
def windows(draw):
    """Image, kernel, stride and padding with at least one window."""
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    image = tuple(max(draw(LENGTHS), kernel[k] - 2 * padding[k]) for k in (0, 1))
    return image, kernel, stride, padding


def test_convolution_by_hand():
    """Cross-correlation, stride, padding and bias on an image that can be done in the head."""
    x = naive.exact([1, 2, 3, 4, 5, 6]).reshape(1, 2, 3, 1)
    w = naive.exact([1, 10, 100, 1000]).reshape(2, 2, 1, 1)
    assert naive.conv2d_forward(x, w).ravel().tolist() == [5421, 6532]
    padded = naive.conv2d_forward(x, w, naive.exact([7]), (2, 2), (1, 1))
    assert padded.shape == (1, 2, 2, 1)
    assert padded.ravel().tolist() == [1007, 3207, 47, 72]


def test_linear_by_hand():
    """Two samples, two inputs, two outputs."""
    w = naive.exact([[1, 2], [10, 20]])
    assert naive.linear_forward(naive.exact([[1, 2], [3, 4]]), w, naive.exact([100, 0])).tolist() == [
        [121, 42],
        [143, 86],
    ]


@given(st.data(), windows(), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3))
def test_convolution_gradients_are_adjoints(data, window, n, ci, co):
    """<conv(x, w), e> == <x, input error(e, w)> == <w, weight gradient(x, e)>: a multilinear map has no other."""
    image, kernel, stride, padding = window
    x, w = integers(data, (n, *image, ci)), integers(data, (*kernel, ci, co))
    acc = naive.conv2d_forward(x, w, None, stride, padding)
    error = integers(data, acc.shape)
    expected = inner(acc, error)
    assert inner(x, naive.conv2d_input_error(error, w, x.shape, stride, padding)) == expected
    assert inner(w, naive.conv2d_weight_gradient(x, error, kernel, stride, padding)) == expected
    ones = naive.conv2d_forward(x, w, naive.exact([1] * co), stride, padding) - acc
    assert inner(ones, error) == sum(naive.conv2d_bias_gradient(error).tolist())


@given(st.data(), windows(), st.integers(1, 2), st.integers(1, 3))
def test_depthwise_gradients_are_adjoints(data, window, n, channels):
    """The same for the depthwise convolution, whose channels are convolutions of one channel."""
    image, kernel, stride, padding = window
    x, w = integers(data, (n, *image, channels)), integers(data, (*kernel, channels))
    acc = naive.depthwise_forward(x, w, None, stride, padding)
    error = integers(data, acc.shape)
    assert inner(x, naive.depthwise_input_error(error, w, x.shape, stride, padding)) == inner(acc, error)
    assert inner(w, naive.depthwise_weight_gradient(x, error, kernel, stride, padding)) == inner(acc, error)
    for c in range(channels):
        one = naive.conv2d_forward(x[..., c : c + 1], w[:, :, c].reshape(*kernel, 1, 1), None, stride, padding)
        assert acc[..., c].tolist() == one[..., 0].tolist()


@given(st.data(), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_linear_gradients_are_adjoints(data, n, k, m):
    """The same for the linear layer, and it is the 1x1 convolution."""
    x, w, error = integers(data, (n, k)), integers(data, (k, m)), integers(data, (n, m))
    acc = naive.linear_forward(x, w)
    assert inner(x, naive.linear_input_error(error, w)) == inner(acc, error)
    assert inner(w, naive.linear_weight_gradient(x, error)) == inner(acc, error)
    assert acc.tolist() == naive.conv2d_forward(x.reshape(n, 1, 1, k), w.reshape(1, 1, k, m)).reshape(n, m).tolist()
    assert naive.linear_bias_gradient(error).tolist() == np.sum(error, axis=0).tolist()


def test_convolution_gradient_is_the_difference_quotient():
    """Halving one weight by an exact fraction changes the loss by gradient times the change."""
    x = naive.exact(np.arange(18).reshape(1, 3, 3, 2))
    w = naive.exact(np.arange(16).reshape(2, 2, 2, 2) - 8)
    error = naive.exact(np.arange(8).reshape(1, 2, 2, 2) - 3)
    gradient = naive.conv2d_weight_gradient(x, error, (2, 2))
    before = inner(naive.conv2d_forward(x, w), error)
    w[1, 0, 1, 1] += Fraction(1, 3)
    assert (inner(naive.conv2d_forward(x, w), error) - before) * 3 == gradient[1, 0, 1, 1]


def test_maxpool_by_hand():
    """Ties take the first in row-major order, windows that do not fit are dropped, overlapping errors add up."""
    x = naive.exact([[5, 5, 1], [5, 9, 9], [0, 0, 0]]).reshape(1, 3, 3, 1)
    values, window = naive.maxpool2d_forward(x, (2, 2))
    assert (values.ravel().tolist(), window.ravel().tolist()) == ([9], [3])
    values, window = naive.maxpool2d_forward(x, (2, 2), (1, 1))
    assert (values.ravel().tolist(), window.ravel().tolist()) == ([9, 9, 9, 9], [3, 2, 1, 0])
    back = naive.maxpool2d_input_error(naive.exact([1, 2, 4, 8]).reshape(1, 2, 2, 1), window, x.shape, (2, 2), (1, 1))
    assert back.ravel().tolist() == [0, 0, 0, 0, 15, 0, 0, 0, 0]
    values, window = naive.maxpool2d_forward(x, (1, 2), (2, 1))
    assert (values.ravel().tolist(), window.ravel().tolist()) == ([5, 5, 0, 0], [0, 0, 0, 0])


def test_average_by_hand():
    """Sum times mantissa; the multiplier of 1/4 is exact, so the error's adjoint is too."""
    x = naive.exact(np.arange(16)).reshape(1, 4, 4, 1)
    acc, shift = naive.avgpool2d_forward(x, (2, 2))
    assert [Fraction(a, 2**shift) for a in acc.ravel().tolist()] == [2.5, 4.5, 10.5, 12.5]
    back, shift = naive.avgpool2d_input_error(naive.exact([1, 2, 3, 4]).reshape(1, 2, 2, 1), (1, 5, 4, 1), (2, 2))
    quarters = [1, 1, 2, 2] * 2 + [3, 3, 4, 4] * 2 + [0] * 4
    assert [4 * a for a in back.ravel().tolist()] == [k * 2**shift for k in quarters]
    whole, shift = naive.global_avgpool_forward(x)
    assert (whole.shape, whole.ravel().tolist()) == ((1, 1, 1, 1), [120 * 2**shift // 16])


@given(st.data(), windows())
def test_average_gradient_is_adjoint(data, window):
    """<avgpool(x), e> == <x, input error(e)>, both times the same mantissa."""
    image, size, stride, _ = window
    image = tuple(max(image[k], size[k]) for k in (0, 1))
    x = integers(data, (1, *image, 2))
    acc, shift = naive.avgpool2d_forward(x, size, stride)
    error = integers(data, acc.shape)
    back, same_shift = naive.avgpool2d_input_error(error, x.shape, size, stride)
    assert (inner(x, back), same_shift) == (inner(acc, error), shift)


@given(st.data(), st.integers(0, 6), st.booleans(), st.booleans())
def test_fused_stage_is_the_unfused_one(data, shift, has_relu, stochastic):
    """Rounding with one draw a window commutes with maximum and ReLU."""
    acc = integers(data, (1, 4, 4, 2), 900)
    words = naive.draw_array(1, 2, 3, (1, 2, 2, 2)) if stochastic else None
    fused = naive.fused_stage(
        acc, shift, 8, pool=((2, 2), (2, 2)), activation=naive.RELU if has_relu else naive.IDENTITY, draws=words
    )
    every = None if words is None else np.repeat(np.repeat(words, 2, axis=1), 2, axis=2)
    rounded = naive.requantize_array(acc, shift, 8, every)[0]
    values, _ = naive.maxpool2d_forward(naive.relu(rounded) if has_relu else rounded, (2, 2))
    assert fused.values.tolist() == values.tolist()


def test_bias_enters_at_its_own_grid():
    """Real numbers: 3 * 2**-6 + 5 * 2**-4, with inputs finer and coarser than one."""
    for frac_x in (2, -2):
        acc, frac = naive.add_bias(naive.exact([3]), naive.exact([5]), 4, frac_x)
        assert acc[0] / Fraction(2) ** frac == 3 / Fraction(2) ** (4 + frac_x) + Fraction(5, 16)


def test_mask_by_hand():
    """The ends of the range stop an error, and with ReLU so does zero; without saturation only ReLU does."""
    y = naive.exact([-8, -7, 0, 1, 6, 7])
    assert naive.error_mask(y, 4, activation=naive.IDENTITY).tolist() == [0, 1, 1, 1, 1, 0]
    assert naive.error_mask(y, 4, activation=naive.RELU).tolist() == [0, 0, 0, 1, 1, 0]
    assert naive.error_mask(y, 4, activation=naive.RELU, saturation=False).tolist() == [0, 0, 0, 1, 1, 1]
    assert naive.error_mask(y, 4, activation=naive.IDENTITY, saturation=False).tolist() == [1] * 6


def pattern(shape, scale):
    """Integers of both signs without much order."""
    return (np.arange(math.prod(shape)).reshape(shape) * 37 % 23 - 11) * scale


def wide_model(parameter=0, element=0, change=0):
    """Three stages in formats so wide that nothing rounds; one element of one parameter may be moved."""
    tensors = []
    for shape in ((2, 2, 1, 2), (2,), (1, 2, 2), (2,), (8, 3), (3,)):
        raw = naive.exact(pattern(shape, 2**12))
        tensors.append(naive.Parameter(raw, naive.Form(200, 8), naive.zeros(shape), naive.Form(200, 0)))
    tensors[parameter].raw.reshape(-1)[element] += change
    stages = [
        naive.Stage(
            "conv2d", 0, naive.Form(200, 8), *tensors[:2], (1, 1), (1, 1), (1, 1), ((2, 2), (2, 1)), naive.RELU
        ),
        naive.Stage("depthwise-conv2d", 3, naive.Form(200, 16), *tensors[2:4], stride=(2, 1), activation=naive.RELU),
        naive.Stage("linear", 6, naive.Form(200, 24), *tensors[4:]),
    ]
    stages[0].error_scale, stages[1].error_scale = naive.DelayedScale(16), naive.DelayedScale(8)
    return naive.NaiveModel(stages, input_frac=0, error_bits=200, layers=7)


@pytest.mark.parametrize("parameter", range(6))
def test_model_gradient_is_the_difference_quotient(parameter):
    """One more unit in a weight changes the loss <logits, error> by the weight's gradient times the unit."""
    x, error = pattern((2, 4, 5, 1), 3), naive.exact(pattern((2, 3), 1))
    model = wide_model()
    logits, saved = model.forward(x)
    owner = model.stages[parameter // 2].parameters[parameter % 2]
    gradient, frac = next(entry[1:3] for entry in model.backward(error, 0, saved) if entry[0] is owner)
    assert any(gradient.reshape(-1).tolist())
    for element, found in enumerate(gradient.reshape(-1).tolist()):
        moved, _ = wide_model(parameter, element, 1).forward(x)
        change = Fraction(inner(moved - logits, error), 2**24)
        assert change == Fraction(found, 2**frac) * Fraction(1, 2**8)
