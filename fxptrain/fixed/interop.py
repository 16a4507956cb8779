"""How fixed-point arrays behave inside NumPy: what has an exact meaning works, everything else is a clear error.

What does not belong here: arithmetic (`array`, `exact`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from fxptrain.errors import FormatError, FxptrainError

OPERATORS = {
    "add": "__add__",
    "subtract": "__sub__",
    "multiply": "__mul__",
    "matmul": "__matmul__",
    "maximum": "maximum",
    "minimum": "minimum",
    "negative": "__neg__",
    "positive": "__pos__",
    "absolute": "__abs__",
    "equal": "__eq__",
    "not_equal": "__ne__",
    "less": "__lt__",
    "less_equal": "__le__",
    "greater": "__gt__",
    "greater_equal": "__ge__",
    **dict.fromkeys(("divide", "floor_divide", "remainder", "fmod", "divmod", "reciprocal"), "__truediv__"),
}
REFLECTED = {"__add__": "__radd__", "__sub__": "__rsub__", "__mul__": "__rmul__", "__matmul__": "__rmatmul__",
             "__lt__": "__gt__", "__le__": "__ge__", "__gt__": "__lt__", "__ge__": "__le__",
             "__truediv__": "__rtruediv__"}  # fmt: skip
WAY_OUT = "Work on `.raw` with its `.format`, or on `.dequantize()`."


class NoDivision:
    """Division operators that say why there is none: a quotient has no finite binary expansion."""

    __slots__ = ()

    def __truediv__(self, other: Any) -> NoReturn:
        """Refuse."""
        _refuse_division(other)

    def __rtruediv__(self, other: Any) -> NoReturn:
        """Refuse."""
        _refuse_division(self)

    __floordiv__ = __mod__ = __divmod__ = __truediv__
    __rfloordiv__ = __rmod__ = __rdivmod__ = __rtruediv__


def _refuse_division(divisor: Any) -> NoReturn:
    raw = divisor.raw if isinstance(divisor, NoDivision) else np.asarray(divisor)  # type: ignore[attr-defined]
    zeros = raw.size - np.count_nonzero(raw)
    if zeros:
        raise FxptrainError(f"Division by zero: {zeros} of {raw.size} divisors are 0; fixed point has no infinity.")
    raise FxptrainError(
        "Division has no exact fixed-point result. Multiply by a quantized reciprocal, or use `>>` for powers of two."
    )


class NumPyProtocols:
    """NumPy's three protocols for a class with operators, `raw` and `format`."""

    __slots__ = ()

    def __bool__(self) -> bool:
        """Truth of a single element; of more, NumPy's own error."""
        return bool(self.raw)  # type: ignore[attr-defined]

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        """Refuse: raw integers and real values would both be plausible."""
        raise FormatError(f"An FxPArray does not become a plain array silently. {WAY_OUT}")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """``np.add(a, b)`` and the like, by the operators."""
        name = OPERATORS.get(ufunc.__name__)
        if name is None or method != "__call__" or options:
            call = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
            with_options = f" with {', '.join(options)}" if options else ""
            raise FormatError(f"`{call}`{with_options} has no exact fixed-point form. {WAY_OUT}")
        if isinstance(inputs[0], NumPyProtocols):
            return getattr(inputs[0], name)(*inputs[1:])
        return getattr(inputs[1], REFLECTED.get(name, name))(inputs[0])

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, options: Any) -> Any:
        """Functions that move, choose or count elements, and `np.sum`."""
        handler = FUNCTIONS.get(function)
        if handler is None:
            raise FormatError(f"`np.{function.__name__}` has no exact fixed-point form. {WAY_OUT}")
        return handler(*args, **options)


def _joined(function: Callable[..., Any], name: str = "") -> Callable[..., Any]:
    def join(arrays: Sequence[Any], axis: int = 0) -> Any:
        first = arrays[0]
        for array in arrays:
            if not isinstance(array, NumPyProtocols) or array.format != first.format:  # type: ignore[attr-defined]
                one, other = (getattr(item, "format", type(item).__name__) for item in (first, array))
                raise FormatError(
                    f"`np.{name or function.__name__}` joins arrays of one format, not {one} and {other}. "
                    "Requantize them to one format first."
                )
        return type(first)(function([array.raw for array in arrays], axis=axis), first.format)

    return join


def _stacked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that joins along an axis of its own choice."""
    join = _joined(lambda arrays, axis: function(arrays), function.__name__)
    return lambda arrays: join(list(arrays))


def _raw_of(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(array: Any, *args: Any, **options: Any) -> Any:
        return function(array.raw, *args, **options)

    return call


def _method(name: str) -> Callable[..., Any]:
    def call(array: Any, *args: Any, **options: Any) -> Any:
        return getattr(array, name)(*args, **options)

    return call


def _moved(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that takes elements from one array and puts them elsewhere: the format stays."""

    def move(array: Any, *args: Any, **options: Any) -> Any:
        if not isinstance(array, NumPyProtocols) or options.get("out") is not None:
            raise FormatError(f"`np.{function.__name__}` needs a fixed-point array first, and no `out`. {WAY_OUT}")
        return type(array)(function(array.raw, *args, **options), array.format)  # type: ignore[attr-defined,call-arg]

    return move


def _sum(array: Any, axis: Any = None, *, keepdims: bool = False, **options: Any) -> Any:
    """`np.sum`: exact; `keepdims` leaves the summed axes with extent 1."""
    left = {name: value for name, value in options.items() if value is not None}
    if left:
        raise FormatError(f"`np.sum` with {', '.join(left)} has no exact fixed-point form. {WAY_OUT}")
    total = array.sum(axis)
    if not keepdims:
        return total
    axes = range(array.raw.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    summed = {place % array.raw.ndim for place in axes}
    return total.reshape(tuple(1 if place in summed else extent for place, extent in enumerate(array.raw.shape)))


def _where(condition: Any, *choices: Any) -> Any:
    """`np.where` of two arrays of one format."""
    if len(choices) != 2 or isinstance(condition, NumPyProtocols):
        raise FormatError(f"`np.where` takes a plain condition and two fixed-point arrays. {WAY_OUT}")
    return _joined(lambda arrays, axis: np.where(condition, *arrays), "where")(choices)


def _parted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that gives parts of one array."""

    def part(array: Any, *args: Any, **options: Any) -> list[Any]:
        return [type(array)(raw, array.format) for raw in function(array.raw, *args, **options)]

    return part


def _largest(function: Callable[..., Any]) -> Callable[..., Any]:
    """`np.max` and the like: an element of each row."""

    def find(array: Any, axis: Any = None, *, keepdims: bool = False, **options: Any) -> Any:
        left = {name for name, value in options.items() if value is not None}
        if left or not array.raw.size:
            what = f" with {', '.join(sorted(left))}" if left else " of nothing"
            raise FormatError(f"`np.{function.__name__}`{what} has no exact fixed-point form. {WAY_OUT}")
        return type(array)(function(array.raw, axis=axis, keepdims=keepdims), array.format)

    return find


def _pad(array: Any, pad_width: Any, mode: str = "constant", **options: Any) -> Any:
    """`np.pad` with zeros or with elements of the array."""
    if options or mode not in PADDED_WITH:
        raise FormatError(f"`np.pad` pads with zeros, or by mode {', '.join(PADDED_WITH[1:])}. {WAY_OUT}")
    return type(array)(np.pad(array.raw, pad_width, mode=mode), array.format)  # type: ignore[call-overload]


def _clip(array: Any, a_min: Any = None, a_max: Any = None) -> Any:
    """`np.clip` between integers or fixed-point arrays: what it stores always fits the array's format or theirs."""
    bounded = array if a_min is None else np.maximum(array, a_min)
    return bounded if a_max is None else np.minimum(bounded, a_max)


def _array_equal(one: Any, other: Any) -> bool:
    """`np.array_equal`: the same shape and the same values, whatever their formats."""
    return np.shape(one) == np.shape(other) and bool(np.all(np.equal(one, other)))


PADDED_WITH = ("constant", "edge", "reflect", "symmetric", "wrap")
MOVING = (
    np.broadcast_to, np.copy, np.diagonal, np.expand_dims, np.flip, np.moveaxis, np.ravel, np.repeat, np.roll, np.rot90,
    np.sort, np.squeeze, np.swapaxes, np.take, np.tile, np.tril, np.triu,
)  # fmt: skip
PARTING = (np.array_split, np.hsplit, np.split, np.vsplit)
LARGEST = (np.amax, np.amin, np.max, np.min)
COUNTING = (
    np.all, np.any, np.argmax, np.argmin, np.argsort, np.argwhere, np.count_nonzero, np.flatnonzero, np.ndim,
    np.nonzero, np.shape, np.size,
)  # fmt: skip
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.concatenate: _joined(np.concatenate),
    np.stack: _joined(np.stack),
    np.vstack: _stacked(np.vstack),
    np.hstack: _stacked(np.hstack),
    np.reshape: _method("reshape"),
    np.transpose: _method("transpose"),
    np.sum: _sum,
    np.where: _where,
    **{function: _moved(function) for function in MOVING},
    **{function: _parted(function) for function in PARTING},
    **{function: _largest(function) for function in LARGEST},
    **{function: _raw_of(function) for function in COUNTING},
    np.pad: _pad,
    np.clip: _clip,
    np.array_equal: _array_equal,
}
