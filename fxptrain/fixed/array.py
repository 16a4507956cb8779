"""Fixed-point arrays: raw integers with their format, and arithmetic whose results are exact.

What does not belong here: speed (kernels work on bare raw integers) and NumPy's protocols (`interop`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FormatError, FxptrainError
from fxptrain.fixed import convert
from fxptrain.fixed.exact import Exact, Span
from fxptrain.fixed.format import MAX_BITS, FxP, is_integer
from fxptrain.fixed.interop import NoDivision, NumPyProtocols
from fxptrain.fixed.rounding import Rounding, requantize

Raw = npt.NDArray[np.signedinteger[Any]]
Draws = npt.NDArray[np.uint32]
HALF_EVEN = Rounding.HALF_EVEN


class FxPArray(NoDivision, NumPyProtocols):
    """Immutable array of fixed-point numbers: ``real = raw * 2**-format.frac_bits``.

    ``+ - * @``, negation, ``abs``, ``sum``, ``maximum`` and ``minimum`` are exact: the result's format is the smallest
    that holds every result the operands' formats allow, whatever the data. Where that needs more than 32 bits they
    raise; `add`, `subtract`, `multiply`, `matmul` and `sum` called with a `format` are summed exactly in int64 and
    rounded once instead. ``<<`` and ``>>`` scale by a power of two by moving the binary point, also exactly. Python
    integers are exact operands too. Real numbers never mix in silently: `quantize` them.

    Parameters
    ----------
    raw : int array, any shape
        Raw integers that fit in `format`; copied.
    format : FxP
        Their format.

    Attributes
    ----------
    raw : int array of dtype ``format.dtype``, read-only
        The stored integers.
    format : FxP
        Their format.
    saturated : int
        How many elements saturated in the conversion that made this array.

    Raises
    ------
    FormatError
        If `raw` is not integer or does not fit.

    Examples
    --------
    >>> weights = FxPArray.quantize([[0.5, -1.25], [0.75, 9.0]], FxP(8, 5))
    >>> weights
    FxPArray([[ 0.5    , -1.25   ],
              [ 0.75   ,  3.96875]], FxP(8, 5): -4.0 to 3.96875 by 0.03125, 1 saturated)
    >>> (weights @ weights).format, (weights + weights).format, (weights * 3).format
    (FxP(17, 10), FxP(9, 5), FxP(10, 5))
    >>> weights.matmul(weights, FxP(8, 3)).raw.tolist()
    [[-6, -45], [27, 119]]
    """

    __slots__ = ("format", "raw", "saturated")
    __hash__ = None  # type: ignore[assignment]
    raw: Raw
    format: FxP
    saturated: int

    def __init__(self, raw: npt.ArrayLike, format: FxP) -> None:
        self._fill(np.array(format.checked(raw)), format, 0)

    def _fill(self, raw: Raw, format: FxP, saturated: int) -> None:
        raw = raw.view()
        raw.flags.writeable = False
        for name, value in (("raw", raw), ("format", format), ("saturated", saturated)):
            object.__setattr__(self, name, value)

    @classmethod
    def _of(cls, raw: Any, format: FxP, saturated: int = 0) -> FxPArray:
        """Array around `raw`, which is known to fit and is not copied."""
        array = cls.__new__(cls)
        array._fill(np.asarray(raw, format.dtype), format, saturated)
        return array

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse: arrays are values."""
        raise FxptrainError(f"An FxPArray is immutable; `{name}` cannot be set. Make a new array.")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy."""
        return FxPArray._of, (self.raw, self.format, self.saturated)

    @classmethod
    def quantize(
        cls, real: npt.ArrayLike, format: FxP, rounding: Rounding = HALF_EVEN, draws: Draws | None = None
    ) -> FxPArray:
        """Round finite real numbers into `format` and saturate; see `fxptrain.fixed.convert.quantize`."""
        raw, saturated = convert.quantize(real, format, rounding, draws)
        return cls._of(raw, format, saturated)

    def dequantize(self) -> convert.Reals:
        """Real values, exact, as a float64 array."""
        return convert.dequantize(self.raw, self.format)

    def requantize(self, format: FxP, rounding: Rounding = HALF_EVEN, draws: Draws | None = None) -> FxPArray:
        """Round the same numbers into another format and saturate."""
        return _settled(_exact(self), format, rounding, draws)

    def add(
        self, other: Any, format: FxP | None = None, rounding: Rounding = HALF_EVEN, draws: Draws | None = None
    ) -> FxPArray:
        """Sum: exact, or rounded once into `format`."""
        return _settled(_exact(self) + _exact(other), format, rounding, draws)

    def subtract(
        self, other: Any, format: FxP | None = None, rounding: Rounding = HALF_EVEN, draws: Draws | None = None
    ) -> FxPArray:
        """Difference: exact, or rounded once into `format`."""
        return _settled(_exact(self) - _exact(other), format, rounding, draws)

    def multiply(
        self, other: Any, format: FxP | None = None, rounding: Rounding = HALF_EVEN, draws: Draws | None = None
    ) -> FxPArray:
        """Product, element by element: exact, or rounded once into `format`."""
        return _settled(_exact(self) * _exact(other), format, rounding, draws)

    def matmul(
        self, other: Any, format: FxP | None = None, rounding: Rounding = HALF_EVEN, draws: Draws | None = None
    ) -> FxPArray:
        """Matrix product: exact, or summed exactly in int64 and rounded once into `format`."""
        return _settled(_exact(self) @ _exact(other), format, rounding, draws)

    def sum(
        self,
        axis: int | tuple[int, ...] | None = None,
        format: FxP | None = None,
        rounding: Rounding = HALF_EVEN,
        draws: Draws | None = None,
    ) -> FxPArray:
        """Sum over axes: exact, or rounded once into `format`."""
        return _settled(_exact(self).sum(axis), format, rounding, draws)

    def maximum(self, other: Any) -> FxPArray:
        """Larger of two numbers, element by element."""
        return _settled(_exact(self).maximum(_exact(other)))

    def minimum(self, other: Any) -> FxPArray:
        """Smaller of two numbers, element by element."""
        return _settled(_exact(self).minimum(_exact(other)))

    __add__ = __radd__ = add
    __sub__ = subtract
    __mul__ = __rmul__ = multiply
    __matmul__ = matmul

    def __rsub__(self, other: Any) -> FxPArray:
        """``other - self``."""
        return _settled(_exact(other) - _exact(self))

    def __rmatmul__(self, other: Any) -> FxPArray:
        """``other @ self``."""
        return _settled(_exact(other) @ _exact(self))

    def __neg__(self) -> FxPArray:
        """Negative; one bit wider, because the smallest number has no negative in its own format."""
        return _settled(-_exact(self))

    def __pos__(self) -> FxPArray:
        """Itself."""
        return self

    def __abs__(self) -> FxPArray:
        """Magnitude; one bit wider, like the negative."""
        return _settled(abs(_exact(self)))

    def __lshift__(self, bits: int) -> FxPArray:
        """Exactly ``self * 2**bits``: the binary point moves, the raw integers stay."""
        return self._moved(bits, "<<", -1)

    def __rshift__(self, bits: int) -> FxPArray:
        """Exactly ``self * 2**-bits``: the binary point moves, the raw integers stay."""
        return self._moved(bits, ">>", 1)

    def _moved(self, bits: int, symbol: str, sign: int) -> FxPArray:
        if not is_integer(bits) or bits < 0:
            raise FormatError(f"The shift in `{symbol} {bits!r}` must be an integer and not negative.")
        return self._of(self.raw, self.format.with_frac(self.format.frac_bits + sign * int(bits)))

    def __eq__(self, other: object) -> Any:
        """Elementwise equality of the real values, whatever the formats."""
        return (
            NotImplemented if other is None or isinstance(other, str) else _exact(self).compare(np.equal, _exact(other))
        )

    def __ne__(self, other: object) -> Any:
        """Elementwise inequality of the real values."""
        return (
            NotImplemented
            if other is None or isinstance(other, str)
            else _exact(self).compare(np.not_equal, _exact(other))
        )

    def __lt__(self, other: Any) -> npt.NDArray[np.bool_]:
        """Elementwise comparison of the real values."""
        return _exact(self).compare(np.less, _exact(other))

    def __le__(self, other: Any) -> npt.NDArray[np.bool_]:
        """Elementwise comparison of the real values."""
        return _exact(self).compare(np.less_equal, _exact(other))

    def __gt__(self, other: Any) -> npt.NDArray[np.bool_]:
        """Elementwise comparison of the real values."""
        return _exact(self).compare(np.greater, _exact(other))

    def __ge__(self, other: Any) -> npt.NDArray[np.bool_]:
        """Elementwise comparison of the real values."""
        return _exact(self).compare(np.greater_equal, _exact(other))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.raw.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.raw.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.raw.size

    @property
    def T(self) -> FxPArray:
        """Transposed array."""
        return self.transpose()

    def __len__(self) -> int:
        """Length of the first axis."""
        return len(self.raw)

    def __iter__(self) -> Iterator[FxPArray]:
        """Items along the first axis."""
        return (self._of(item, self.format) for item in self.raw)

    def __getitem__(self, key: Any) -> FxPArray:
        """Elements, slices and masks, like NumPy; always an FxPArray."""
        return self._of(self.raw[key], self.format)

    def reshape(self, *shape: Any) -> FxPArray:
        """Reshaped array."""
        return self._of(self.raw.reshape(*shape), self.format, self.saturated)

    def transpose(self, *axes: Any) -> FxPArray:
        """Array with permuted axes."""
        return self._of(self.raw.transpose(*axes), self.format, self.saturated)

    def __repr__(self) -> str:
        """Show values, format, range, step and saturations."""
        values = np.array2string(self.dequantize(), separator=", ", prefix="FxPArray(")
        form = self.format
        counted = f", {self.saturated} saturated" if self.saturated else ""
        return f"FxPArray({values}, {form!r}: {form.min} to {form.max} by {form.step}{counted})"


def _exact(operand: Any) -> Exact:
    """Operand as wide integers: an array's raw values, or a Python integer with a span of its own."""
    if isinstance(operand, FxPArray):
        return Exact(operand.raw.astype(np.int64), Span.of(operand.format), repr(operand.format))
    if is_integer(operand):
        span = Span(int(operand), int(operand), 0)
        if span.bits > MAX_BITS:
            raise FormatError(f"The operand {operand} needs {span.bits} bits, more than {MAX_BITS}.")
        return Exact(np.asarray(operand, np.int64), span, str(operand))
    kind = f"{operand.dtype} array" if isinstance(operand, np.ndarray) else f"{type(operand).__name__} {operand!r}"
    raise FormatError(
        f"An FxPArray does not combine with the {kind}, whose format is unknown. "
        "Use `FxPArray.quantize(real, format)` for real numbers, `FxPArray(raw, format)` for raw integers."
    )


def _settled(
    exact: Exact, format: FxP | None = None, rounding: Rounding = HALF_EVEN, draws: Draws | None = None
) -> FxPArray:
    """Array of an exact result: in the smallest format that holds its span, or rounded once into `format`."""
    if format is None:
        return FxPArray._of(exact.values, exact.span.format(exact.name))
    shift = exact.span.frac_bits - format.frac_bits
    raw, saturated = requantize(exact.values, shift, format, rounding, draws)
    return FxPArray._of(raw, format, saturated)
