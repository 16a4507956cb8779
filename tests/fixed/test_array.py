"""Fixed-point arrays: exact arithmetic, in a format that always holds the result."""

import copy
import operator
import pickle

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fxptrain.errors import FormatError, FxptrainError, ShapeError
from fxptrain.fixed import FxP, FxPArray, Rounding, draws
from fxptrain.fixed.exact import Span
from fxptrain.testing import draw_words, formats, fxp_arrays, matmul_operands, oracles

SMALL = formats(max_bits=14, min_frac=-6, max_frac=8)
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


def same(array, expected):
    """Whether an array holds exactly these fractions, in raw values that fit its format."""
    array.format.checked(array.raw)
    return array.raw.dtype == array.format.dtype and oracles.reals(array).tolist() == np.asarray(expected).tolist()


@st.composite
def pairs(draw, chosen=SMALL):
    """Two arrays of one shape and two formats."""
    shape = draw(st.sampled_from([(), (3,), (2, 2), (0,)]))
    return draw(fxp_arrays(chosen, shape)), draw(fxp_arrays(chosen, shape))


def test_by_hand():
    """1.5 and -0.25 in FxP(8, 4) with 2.5 and 3 in FxP(6, 2)."""
    a, b = FxPArray([24, -4], FxP(8, 4)), FxPArray([10, 12], FxP(6, 2))
    assert ((a + b).raw.tolist(), (a + b).format) == ([64, 44], FxP(9, 4))
    assert ((a - b).raw.tolist(), (a - b).format) == ([-16, -52], FxP(9, 4))
    assert ((a * b).raw.tolist(), (a * b).format) == ([240, -48], FxP(14, 6))
    assert ((a @ b).raw.tolist(), (a @ b).format) == (192, FxP(15, 6))
    assert ((-a).raw.tolist(), (-a).format) == ([-24, 4], FxP(9, 4))
    assert (abs(a).raw.tolist(), a.sum().raw.tolist(), a.sum().format) == ([24, 4], 20, FxP(9, 4))
    assert (a > b).tolist() == [False, False]


def test_python_integers_are_exact_operands():
    """An integer takes only the bits its value needs."""
    a = FxPArray([24, -4], FxP(8, 4))
    assert ((a * 3).raw.tolist(), (a * 3).format) == ([72, -12], FxP(10, 4))
    assert ((1 + a).raw.tolist(), (1 - a).raw.tolist()) == ([40, 12], [-8, 20])
    assert (np.int16(2) * a == a + a).all()
    assert (a >= 0).tolist() == [True, False]


def test_repr_shows_values_format_range_and_saturations():
    """What is in it, how it is stored, what it could hold, what was lost."""
    assert repr(FxPArray([16, -2], FxP(8, 5))) == "FxPArray([ 0.5   , -0.0625], FxP(8, 5): -4.0 to 3.96875 by 0.03125)"
    assert repr(FxPArray.quantize([9.0, -9.0], FxP(8, 5))).endswith(
        "FxP(8, 5): -4.0 to 3.96875 by 0.03125, 2 saturated)"
    )


@pytest.mark.parametrize("bits_a", [2, 3])
@pytest.mark.parametrize("bits_b", [2, 4])
def test_all_pairs_of_small_formats(bits_a, bits_b):
    """Sum, difference, product and comparison of all values of two formats, by broadcasting."""
    a = FxPArray(np.arange(1 << bits_a)[:, None] - (1 << (bits_a - 1)), FxP(bits_a, 1))
    b = FxPArray(np.arange(1 << bits_b)[None] - (1 << (bits_b - 1)), FxP(bits_b, -1))
    x, y = oracles.reals(a), oracles.reals(b)
    assert same(a + b, x + y)
    assert same(a - b, x - y)
    assert same(a * b, x * y)
    for compare in COMPARISONS:
        assert compare(a, b).tolist() == compare(x, y).tolist()


@given(pairs())
def test_elementwise(pair):
    """Every elementwise operation equals the fractions'."""
    a, b = pair
    x, y = oracles.reals(a), oracles.reals(b)
    assert same(a + b, x + y)
    assert same(a - b, x - y)
    assert same(a * b, x * y)
    assert same(-a, -x)
    assert same(abs(a), abs(x))
    assert same(a.maximum(b), np.maximum(x, y))
    assert same(a.minimum(b), np.minimum(x, y))


@given(pairs(formats(min_frac=-96, max_frac=96)))
@example((FxPArray([1], FxP(32, 96)), FxPArray([-(2**31)], FxP(32, -96))))
@example((FxPArray([2**31 - 1], FxP(32, 32)), FxPArray([1], FxP(32, 0))))
def test_comparisons_of_any_two_formats(pair):
    """Comparison is exact however far the binary points are apart."""
    a, b = pair
    x, y = oracles.reals(a), oracles.reals(b)
    for compare in COMPARISONS:
        assert compare(a, b).tolist() == np.asarray(compare(x, y), bool).tolist()


@given(matmul_operands(max_bits=14))
def test_matmul(operands):
    """A matrix product is the exact sum of exact products."""
    a, b = operands
    expected = oracles.reals(a) @ oracles.reals(b)
    assert same(a @ b, expected) if a.shape[1] else (a @ b).raw.tolist() == np.zeros((a.shape[0], b.shape[1])).tolist()


@given(fxp_arrays(SMALL, (2, 3, 2)), st.sampled_from([None, 0, 1, -1, (0, 2)]))
def test_sum(array, axis):
    """Sums over axes are exact."""
    assert same(array.sum(axis), np.asarray(np.sum(oracles.reals(array), axis=axis)))


@given(st.data(), matmul_operands(max_bits=32), formats(), st.booleans())
def test_matmul_into_a_format(data, operands, form, stochastic):
    """Summed exactly, rounded once, saturations counted; or refused where int64 cannot be proved."""
    a, b = operands
    shape = (a.shape[0], b.shape[1])
    words = data.draw(draw_words(shape)) if stochastic else None
    rounding = Rounding.STOCHASTIC if stochastic else Rounding.HALF_EVEN
    acc = a.raw.astype(object) @ b.raw.astype(object)
    largest = [int(np.abs(x.raw.astype(np.int64)).max(initial=0)) for x in (a, b)]
    terms = Span.of(a.format) * Span.of(b.format)
    if terms.repeated(a.shape[1]).bits > 63 and a.shape[1] * largest[0] * largest[1] >= 2**62:
        with pytest.raises(FormatError, match="more than the 63 of an int64 sum"):
            a.matmul(b, form, rounding, words)
        return
    result = a.matmul(b, form, rounding, words)
    shift = a.format.frac_bits + b.format.frac_bits - form.frac_bits
    expected, saturated = oracles.requantize_all(acc, shift, form, words)
    assert result.format == form
    assert result.raw.tolist() == expected.tolist()
    assert result.saturated == saturated


@given(pairs(formats(max_bits=30, min_frac=0, max_frac=30)), formats())
def test_elementwise_into_a_format(pair, form):
    """The methods with a format round the exact result once."""
    a, b = pair
    x, y = oracles.reals(a), oracles.reals(b)
    for result, exact in ((a.add(b, form), x + y), (a.subtract(b, form), x - y), (a.multiply(b, form), x * y)):
        expected = [oracles.quantize(value, form) for value in np.asarray(exact).reshape(-1).tolist()]
        assert result.raw.reshape(-1).tolist() == expected


@given(st.data(), fxp_arrays(formats(min_frac=-96, max_frac=96)), formats(min_frac=-96, max_frac=96), st.booleans())
def test_requantize(data, array, form, stochastic):
    """From any format into any other: one rounding, one saturation."""
    words = data.draw(draw_words(array.shape)) if stochastic else None
    result = array.requantize(form, Rounding.STOCHASTIC if stochastic else Rounding.HALF_EVEN, words)
    expected, saturated = oracles.requantize_all(array.raw, array.format.frac_bits - form.frac_bits, form, words)
    assert result.raw.tolist() == expected.tolist()
    assert result.saturated == saturated


@given(fxp_arrays(), st.integers(0, 50))
def test_shifts_move_the_binary_point(array, bits):
    """``<<`` and ``>>`` multiply by a power of two, exactly, without touching a raw integer."""
    assert same(array << bits, oracles.reals(array) * 2**bits)
    assert same((array << bits) >> bits, oracles.reals(array))
    assert (array >> bits).raw.tolist() == array.raw.tolist()


def test_real_numbers_in_and_out():
    """Quantize and dequantize carry the format; draws make the rounding stochastic."""
    array = FxPArray.quantize([[0.3, -9.0]], FxP(8, 5), Rounding.STOCHASTIC, draws(0, 0, 0, 2).reshape(1, 2))
    assert array.raw.tolist() == [[10, -128]]
    assert array.saturated == 1
    assert array.reshape(2, 1).T.saturated == 1
    assert array.dequantize().tolist() == [[0.3125, -4.0]]


def test_it_is_a_sequence_of_its_own_kind():
    """Shape, length, indexing, slicing, masks, iteration, transposition, truth of one element."""
    array = FxPArray(np.arange(6).reshape(2, 3), FxP(8, 1))
    assert (array.shape, array.ndim, array.size, len(array)) == ((2, 3), 2, 6, 2)
    assert (array[1, 2].raw.tolist(), array[:, 1].raw.tolist(), array[array > 1].raw.tolist()) == (5, [1, 4], [3, 4, 5])
    assert [row.raw.tolist() for row in array] == [[0, 1, 2], [3, 4, 5]]
    assert array.T.raw.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert array.reshape(3, 2)[0].format == FxP(8, 1)
    assert not array[0, 0]
    assert array[0, 1]


def test_it_is_a_value():
    """Neither the array nor its source can change it; copies and pickles are equal; it has no hash."""
    source = np.array([1, 2], np.int8)
    array = FxPArray(source, FxP(8, 0))
    source[0] = 9
    assert array.raw.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        array.raw[0] = 3
    with pytest.raises(FxptrainError, match="immutable; `format` cannot be set"):
        array.format = FxP(8, 1)
    for twin in (copy.deepcopy(array), pickle.loads(pickle.dumps(array))):
        assert (twin == array).all()
        assert twin.format == array.format
    with pytest.raises(TypeError, match="unhashable"):
        hash(array)
    assert array != None  # noqa: E711
    assert array != "text"


@pytest.mark.parametrize("operand", [0.5, np.float32(1), np.ones(2), np.ones(2, np.int8), [1, 2], True, None, "1"])
@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.matmul, operator.lt])
def test_nothing_of_unknown_format_mixes_in(operation, operand):
    """Floats, bare arrays and other objects are refused from both sides, with the two ways to give them a format."""
    array = FxPArray([1, 2], FxP(8, 4))
    for left, right in ((array, operand), (operand, array)):
        with pytest.raises(
            FormatError, match=r"does not combine with.*quantize\(real, format\).*FxPArray\(raw, format\)"
        ):
            operation(left, right)


@pytest.mark.parametrize("operation", [operator.truediv, operator.floordiv, operator.mod, divmod])
def test_division(operation):
    """There is no exact quotient; zero divisors are counted."""
    array = FxPArray([1, 0, 0], FxP(8, 4))
    for divisor in (2, 0.5, array + 1):
        with pytest.raises(FxptrainError, match=r"no exact fixed-point result. Multiply by a quantized reciprocal"):
            operation(array, divisor)
    with pytest.raises(FxptrainError, match="Division by zero: 1 of 1 divisors are 0"):
        operation(array, 0)
    for dividend in (1, array, np.ones(3)):
        with pytest.raises(FxptrainError, match="Division by zero: 2 of 3 divisors are 0"):
            operation(dividend, array)


def test_results_that_no_format_holds():
    """The message says how many bits are needed and the way out; the way out works."""
    a = FxPArray(np.full((1, 784), 1000), FxP(16, 8))
    with pytest.raises(FormatError, match=r"FxP\(16, 8\) @ FxP\(16, 8\) over 784 terms needs 41 bits.*Requantize"):
        a @ a.T
    assert a.matmul(a.T, FxP(32, 12)).raw.tolist() == [[784 * 1000 * 1000 >> 4]]
    with pytest.raises(FormatError, match="needs 33 bits"):
        FxPArray([1], FxP(32, 0)) + 1
    with pytest.raises(FormatError, match=r"FxP\(8, 5\) \+ FxP\(8, 90\) needs 94 bits .* the 63 of an int64 sum"):
        FxPArray([1], FxP(8, 5)).add(FxPArray([1], FxP(8, 90)), FxP(8, 0))
    with pytest.raises(FormatError, match="operand 1099511627776 needs 42 bits, more than 32"):
        FxPArray([1], FxP(8, 5)).maximum(2**40)


def test_impossible_arrays_shapes_and_shifts():
    """Raw values that are no integers or do not fit, shapes that do not match, shifts that are none."""
    a = FxPArray([1, 2], FxP(8, 5))
    with pytest.raises(FormatError, match="raw values are integers"):
        FxPArray([0.5], FxP(8, 5))
    with pytest.raises(FormatError, match="holds 128"):
        FxPArray([128], FxP(8, 5))
    for operation in (operator.add, operator.matmul, operator.lt):
        with pytest.raises(ShapeError, match=r"shapes \(2,\) and \(3,\) do not fit together"):
            operation(a, FxPArray([1, 2, 3], FxP(8, 5)))
    for bits in (-1, 1.0, True):
        with pytest.raises(FormatError, match="must be an integer and not negative"):
            a << bits
    with pytest.raises(FormatError, match=r"`frac_bits` \(=105\) must be -96 to 96"):
        a >> 100
