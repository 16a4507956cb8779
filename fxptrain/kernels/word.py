"""Products and shifts in the width of their first operand, so that loops of int32 fill a vector with twice as many.

And the bytes of an element as a constant, so that what is for other widths is left out by LLVM, and other views of an
array's memory, for which NumPy's own methods take Numba long to compile.
Numba computes ``int32 * int32`` and ``int32 >> int32`` in int64; LLVM seldom proves that it may go back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np import arrayobj


def _binary(operation: str) -> Callable[..., Any]:
    """Intrinsic of an LLVM instruction in the type of its first operand."""

    @intrinsic
    def emit(typing, a, b):
        def generate(context, builder, signature, args):
            return getattr(builder, operation)(args[0], context.cast(builder, args[1], b, a))

        return a(a, b), generate

    return emit  # type: ignore[no-any-return]


multiply = _binary("mul")  # modulo 2**width
shift_right = _binary("ashr")  # by 0 to width - 1
shift_left = _binary("shl")  # by 0 to width - 1, modulo 2**width


@intrinsic
def size_of(typing, array):
    """Bytes of an element of an array."""

    def generate(context, builder, signature, args):
        return ir.Constant(ir.IntType(64), array.dtype.bitwidth // 8)

    return types.int64(array), generate


def _view(element: types.Type | None) -> Callable[..., Any]:
    """Intrinsic of a C-contiguous array as one of one dimension, of its own or other elements; it keeps none alive."""

    @intrinsic
    def emit(typing, array):
        if array.layout != "C":
            return None  # Numba then says that it has no such function
        kind = array.copy(dtype=element or array.dtype, ndim=1)

        def generate(context, builder, signature, args):
            source, made = (
                context.make_array(of)(context, builder, *value) for of, value in ((array, args), (kind, ()))
            )
            size = ir.Constant(ir.IntType(64), kind.dtype.bitwidth // 8)
            count = builder.sdiv(builder.mul(source.nitems, source.itemsize), size)
            data = builder.bitcast(source.data, context.get_data_type(kind.dtype).as_pointer())
            arrayobj.populate_array(made, data=data, shape=[count], strides=[size], itemsize=size, meminfo=None)
            return made._getvalue()

        return kind(array), generate

    return emit  # type: ignore[no-any-return]


ravel = _view(None)
int32_view = _view(types.int32)
