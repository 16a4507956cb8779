"""Convolution and linear stages alone: forward, input error and gradients are the oracle's everywhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxptrain.errors import FormatError
from fxptrain.fixed.format import FxP
from fxptrain.nn import spec as s
from tests.nn.single import Formats, Single

SMALL = st.integers(1, 3)
PAIRS = st.tuples(SMALL, SMALL)


@st.composite
def formats(draw: st.DrawFn) -> Formats:
    """All operands of up to 8 bits, perhaps with 16-bit errors, or all of 9 to 16; any binary point."""
    low, high, errors = draw(st.sampled_from([(2, 8, (2, 8)), (2, 8, (16, 16)), (9, 16, (9, 16))]))
    x, y, w = (FxP(draw(st.integers(low, high)), draw(st.integers(-3, 12))) for _ in range(3))
    error = FxP(draw(st.integers(*errors)), draw(st.integers(-3, 20)))
    return Formats(x=x, y=y, w=w, error=error, input_error=error.with_frac(draw(st.integers(-3, 20))))


CALLS = st.fixed_dictionaries(
    {
        "stochastic": st.booleans(),
        "mask": st.booleans(),
        "producer_relu": st.booleans(),
        "threads": st.integers(1, 3),
    }
)


@st.composite
def convolutions(
    draw: st.DrawFn, kind: type[s.Conv2d] | type[s.DepthwiseConv2d]
) -> tuple[tuple[s.LayerSpec, ...], s.Pair]:
    """A convolution, perhaps with a pool and a ReLU in either order, and an image that it fits."""
    kernel, stride = draw(PAIRS), draw(PAIRS)
    dilation = draw(st.one_of(st.just((1, 1)), PAIRS))
    zeros = st.integers(0, 2)
    padding = draw(st.one_of(st.just("same"), st.tuples(zeros, zeros), st.tuples(zeros, zeros, zeros, zeros)))
    pool = draw(st.sampled_from([(1, 1), (2, 2), (1, 2), (3, 2)]))
    extents = [(kernel[k] - 1) * dilation[k] + 1 + (pool[k] - 1) * stride[k] for k in (0, 1)]
    sides = (0, 0, 0, 0) if padding == "same" else padding if len(padding) == 4 else 2 * padding
    least = [max(extents[k] - sides[k] - sides[k + 2], 1) for k in (0, 1)]
    image = (least[0] + draw(st.integers(0, 4)), least[1] + draw(st.sampled_from([0, 1, 2, 4, 9])))
    channels = {"channels": draw(st.sampled_from([1, 2, 3, 5, 16, 17]))} if kind is s.Conv2d else {}
    options = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    layer = kind(**options, bias=draw(st.booleans()), **channels)
    behind: list[s.LayerSpec] = [] if pool == (1, 1) else [s.MaxPool2d(size=pool)]
    if draw(st.booleans()):
        behind.insert(draw(st.integers(0, len(behind))), s.ReLU())
    return (layer, *behind), image


@given(convolutions(s.Conv2d), formats(), SMALL, st.sampled_from([1, 2, 3, 4, 9]), CALLS, st.integers(0, 2**32 - 1))
def test_convolution(case, forms, n, channels, call, seed) -> None:
    """Rectangular kernels, strides, padding of every side, taps apart, pools, with and without bias."""
    layers, image = case
    Single(layers, (*image, channels), forms, seed).check(n, **call)


@st.composite
def turned(draw: st.DrawFn) -> tuple[s.Conv2d, tuple[int, int, int]]:
    """A convolution of stride 1 with at least as many outputs as inputs, of whole groups of channels, and its input."""
    kernel, dilation = draw(PAIRS), draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2)]))
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    before = [draw(st.integers(0, most)) for most in reach]
    behind = [draw(st.integers(most - first, most)) for most, first in zip(reach, before, strict=True)]
    inputs = st.sampled_from([1, 3, 16, 17] if kernel[1] == 1 or dilation[1] > 1 else [16, 32])
    image = draw(st.sampled_from([1, 2, 5, 9])), draw(st.sampled_from([1, 2, 7, 20])), draw(inputs)
    options = {"padding": (*before, *behind), "dilation": dilation, "bias": draw(st.booleans())}
    return s.Conv2d(channels=draw(st.sampled_from([4, 8, 20])), kernel=kernel, **options), image


@settings(max_examples=50)
@given(
    turned(), st.sampled_from([(8, 8, 8), (8, 6, 8), (5, 8, 3), (8, 8, 16)]), SMALL, CALLS, st.integers(0, 2**32 - 1)
)
def test_errors_by_the_kernel_turned_around(case, bits, n, call, seed) -> None:
    """The input error as a convolution of the errors has the oracle's sums and draws."""
    (layer, shape), (x, w, error) = case, bits
    forms = Formats(x=FxP(x, 4), y=FxP(x, 3), w=FxP(w, 5), error=FxP(error, 9), input_error=FxP(error, 7))
    single = Single((layer,), shape, forms, seed)
    assert single.stage.turned is not None
    single.check(n, **call)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"kernel": (3, 3)}, (5, 5, 16)),  # fewer outputs than inputs
        ({"kernel": (3, 3), "padding": (1, 1)}, (5, 5, 3)),  # three vectors where a row of taps fills one
        ({"kernel": (3, 3), "padding": (1, 1), "stride": (2, 2)}, (5, 5, 16)),
        ({"kernel": (1, 1), "padding": (1, 1)}, (5, 5, 16)),  # outputs that no input reaches
        ({"kernel": (3, 3), "padding": (1, 1), "groups": 2}, (5, 5, 32)),
    ],
)
def test_errors_added_one_by_one(options, shape) -> None:
    """Elsewhere every error's products are added where they belong."""
    forms = Formats(x=FxP(8, 3), y=FxP(8, 3), w=FxP(8, 3), error=FxP(8, 3), input_error=FxP(8, 3))
    single = Single((s.Conv2d(channels=8, **options),), shape, forms, 1)
    assert single.stage.turned is None
    single.check(2, stochastic=True, mask=True, producer_relu=False, threads=1)


@given(convolutions(s.DepthwiseConv2d), formats(), SMALL, st.sampled_from([1, 2, 5]), CALLS, st.integers(0, 2**32 - 1))
def test_depthwise(case, forms, n, channels, call, seed) -> None:
    """The same channel by channel."""
    layers, image = case
    Single(layers, (*image, channels), forms, seed).check(n, **call)


def test_a_stride_beyond_the_image_takes_no_memory() -> None:
    """Rows sorted by the rest that a stride leaves have no room for rests that are not there."""
    forms = Formats(x=FxP(8, 3), y=FxP(8, 3), w=FxP(8, 3), error=FxP(8, 3), input_error=FxP(8, 3))
    bytes_of = []
    for stride in ((1, 6), (1, 1 << 30)):
        single = Single((s.DepthwiseConv2d(kernel=(2, 3), stride=stride, dilation=(1, 2)),), (3, 6, 2), forms, 1)
        single.check(2, stochastic=True, mask=True, producer_relu=False, threads=1)
        phases = "forward", "error", "gradient"
        bytes_of.append([buffer.bytes for phase in phases for buffer in single.stage.scratch(phase, 2)])
    assert bytes_of[0] == bytes_of[1]


@given(
    st.tuples(SMALL, SMALL, st.sampled_from([1, 3, 8])),
    st.sampled_from([1, 2, 5, 16, 19]),
    st.tuples(st.booleans(), st.booleans()),
    formats(),
    st.sampled_from([1, 2, 15, 16, 17, 35]),
    CALLS,
    st.integers(0, 2**32 - 1),
)
def test_linear(shape, features, choices, forms, n, call, seed) -> None:
    """Whole rows of samples and a rest; channels that fill no vector."""
    bias, relu = choices
    layers = (s.Linear(features=features, bias=bias), *((s.ReLU(),) if relu else ()))
    Single(layers, shape, forms, seed).check(n, **call)


WIDE = [(24, 24, 16), (32, 8, 16), (8, 32, 2)]


@pytest.mark.parametrize(("w", "x", "error"), WIDE)
@pytest.mark.parametrize(
    "layer",
    [
        s.Conv2d(channels=3, kernel=(2, 3), padding=(1, 1)),
        s.Conv2d(channels=3, kernel=(2, 3), padding=(0, 2, 1, 1), dilation=(1, 2)),
        s.DepthwiseConv2d(kernel=(2, 2), stride=(1, 2)),
        s.Linear(features=5),
    ],
    ids=lambda layer: layer.type,
)
@pytest.mark.parametrize("seed", range(3))
def test_wide_operands(layer: s.LayerSpec, w: int, x: int, error: int, seed: int) -> None:
    """Operands of more than 16 bits are split into digits, at the ends of their ranges too."""
    forms = Formats(x=FxP(x, 6), y=FxP(x, 9), w=FxP(w, 7), error=FxP(error, 12), input_error=FxP(error, 9))
    single = Single((layer, s.ReLU()), (4, 3, 2), forms, seed)
    single.check(3, stochastic=seed > 0, mask=True, producer_relu=False, threads=2)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ((s.Conv2d(channels=3, kernel=(2, 3), padding=(1, 1)), s.ReLU()), (4, 5, 2)),
        ((s.Conv2d(channels=3, kernel=(2, 2), padding=(1, 1)), s.ReLU(), s.MaxPool2d(size=(2, 2))), (5, 6, 2)),
        ((s.Conv2d(channels=2, kernel=(2, 2)), s.MaxPool2d(size=(2, 3)), s.LeakyReLU(slope=0.3)), (5, 7, 2)),
        ((s.Conv2d(channels=3, kernel=(2, 2), dilation=(1, 2), bias=False), s.ReLU6()), (4, 6, 2)),
        ((s.Conv2d(channels=6, kernel=(2, 2), groups=2), s.Clamp(low=-1.3), s.MaxPool2d(size=(2, 2))), (5, 5, 4)),
        ((s.DepthwiseConv2d(kernel=(2, 2), stride=(1, 2)), s.ReLU()), (4, 5, 3)),
        ((s.DepthwiseConv2d(kernel=(3, 2)), s.MaxPool2d(size=(2, 2)), s.LeakyReLU(slope=0.125)), (6, 5, 3)),
        ((s.Conv2dTranspose(channels=3, kernel=(2, 3), stride=(2, 2)), s.MaxPool2d(size=(2, 2))), (3, 4, 2)),
        ((s.Linear(features=5), s.ReLU()), (4, 3, 2)),
    ],
    ids=["conv", "pool", "bent", "dilated", "groups", "depthwise", "pooled-depthwise", "transposed", "linear"],
)
@pytest.mark.parametrize(("x", "w", "y"), [((32, 24), (32, 24), (32, 24)), ((32, 16), (30, 20), (32, 33)),
                                           ((30, -5), (32, 4), (32, -6)), ((32, 30), (32, 33), (20, 2))])  # fmt: skip
def test_sums_of_two_limbs(layers, shape, x, w, y) -> None:
    """Operands whose sums int64 is not proved to hold: every shift, ends of the ranges, errors and gradients too."""
    forms = Formats(x=FxP(*x), y=FxP(*y), w=FxP(*w), error=FxP(16, 12), input_error=FxP(16, 9))
    for seed in range(2):
        single = Single(layers, shape, forms, seed)
        assert single.stage.wide
        single.check(3, stochastic=seed > 0, mask=True, producer_relu=False, threads=2)


def test_sums_beyond_two_limbs_are_refused() -> None:
    """The error names the layer, the sum, the bits and the way out."""
    forms = Formats(x=FxP(32, 0), y=FxP(8, 0), w=FxP(32, 0), error=FxP(8, 0), input_error=FxP(8, 0))
    single = Single((s.Linear(features=2),), (1, 1, 1 << 14), forms, 0)
    message = (
        r"Layer '0.linear': the output sums 16385 products of 62 bits and needs 79 .* limbs has 78. Use fewer bits"
    )
    with pytest.raises(FormatError, match=message):
        single.stage.check_widths(1)  # type: ignore[attr-defined]


class Constant(Single):
    """All values of a tensor alike: sums of squares then bound its sums exactly."""

    def __init__(self, layer: s.LayerSpec, shape: tuple[int, int, int], values: dict[str, int]) -> None:
        forms = Formats(x=FxP(16, 1), y=FxP(16, 2), w=FxP(16, 3), error=FxP(16, 4), input_error=FxP(16, -12))
        self.values = {getattr(forms, name): value for name, value in values.items()}
        super().__init__((layer,), shape, forms, 0)

    def raw(self, shape: tuple[int, ...], form: FxP) -> np.ndarray:
        """The value of the tensor of this format."""
        return np.full(shape, self.values[form], np.int16)


LIMIT = (1 << 31) - 1
MOST, FITS = 32767, 1024  # 64 * 32767 * 1024 is in int32, 64 * 32767 * 1025 is not


@pytest.mark.parametrize("w", [FITS, FITS + 1, -FITS, -FITS - 1])
@pytest.mark.parametrize("x", [MOST, -MOST])
@pytest.mark.parametrize("error", [MOST, FITS, FITS + 1, -FITS - 1])
def test_at_the_edge_of_int32(w: int, x: int, error: int) -> None:
    """Sums of 64 products that one plane of int16 just holds, or just not: of channels, of errors, of positions."""
    layer = s.Conv2d(channels=64, kernel=(1, 1), bias=False)
    single = Constant(layer, (8, 8, 64), {"w": w, "x": x, "error": error})
    single.check(2, stochastic=False, mask=False, producer_relu=False, threads=1)


@pytest.mark.parametrize("span", [144, 96, 48, 32, 16])
@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("x", [MOST, -MOST])
def test_chains_at_the_edge_of_int32(span: int, beyond: int, x: int) -> None:
    """Sums of 3 kernel rows of 48 products, of which a part of `span` just stays in int32, or just not."""
    layer = s.Conv2d(channels=16, kernel=(3, 3), bias=False)
    w = LIMIT // (MOST * span) + beyond
    single = Constant(layer, (5, 6, 16), {"w": w, "x": x, "error": 1})
    single.check(2, stochastic=False, mask=False, producer_relu=False, threads=1)


@pytest.mark.parametrize("span", [25, 15, 10])
@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("x", [30000, -30000])
@pytest.mark.parametrize("sign", [1, -1])
def test_known_inputs_at_the_edge_of_int32(span: int, beyond: int, x: int, sign: int) -> None:
    """The same of a single channel, whose inputs are known to be no larger."""
    layer = s.Conv2d(channels=16, kernel=(5, 5), bias=False)
    w = sign * (LIMIT // (30000 * span) + beyond)
    single = Constant(layer, (7, 8, 1), {"w": w, "x": x, "error": 1})
    single.stage.x_form.known = min(x, 0), max(x, 0)
    single.check(2, stochastic=False, mask=False, producer_relu=False, threads=1)
