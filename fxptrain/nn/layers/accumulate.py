"""How sums are made exact: which digits the operands are split into and how long an int32 chain may be.

The one place that decides accumulator widths by formats and weights; kernels follow, and where a sample's own values
prove more (`kernels.norms`), they take one pass instead of one for every digit.
"""

from __future__ import annotations

import numpy as np

from fxptrain.errors import FormatError
from fxptrain.kernels.conv import Accumulation
from fxptrain.kernels.dot import UNBOUNDED
from fxptrain.kernels.instructions import FLIP, QUADS
from fxptrain.kernels.pack import Digits

INT32_LIMIT = 1 << 31
INT64_BITS = 63
WORTHWHILE_TERMS = 48  # a shorter int32 chain costs more in flushes than a second plane of digits
ROW_DIGIT_BITS, COLUMN_DIGIT_BITS, LIMB_DIGIT_BITS = 8, 15, 11
BYTE_BITS = 8
BYTE_CHAIN = (INT32_LIMIT - 1) // (255 * 128 * 4)  # quads of unsigned by signed bytes that cannot leave int32


def bytes_pay(row_bits: int, column_bits: int) -> bool:
    """Whether a sum of products of these operands is computed on groups of four int8."""
    return QUADS and max(row_bits, column_bits) <= BYTE_BITS


def flips(row_bits: int, column_bits: int) -> bool:
    """Whether the row operand is then stored flipped, 128 too much."""
    return bytes_pay(row_bits, column_bits) and bool(FLIP)


def element_type(row_bits: int, column_bits: int) -> type[np.signedinteger]:
    """Element type of the operands of a product."""
    return np.int8 if bytes_pay(row_bits, column_bits) else np.int16


def plan_chain(row_bits: int, column_bits: int) -> Accumulation:
    """Cheapest exact accumulation of products of a `row_bits` by a `column_bits` operand into int64.

    One plane each for operands that int8 holds, in chains that unsigned bytes cannot overflow either; one plane of
    int16 each where an int32 chain of a worthwhile length cannot overflow; else the row operand in 8-bit digits, and a
    column operand of more than 16 bits in 15-bit digits.
    """
    if max(row_bits, column_bits) <= BYTE_BITS:
        return Accumulation(Digits(1, 0), Digits(1, 0), BYTE_CHAIN)
    if row_bits <= 16 and column_bits <= 16:
        terms = (INT32_LIMIT - 1) >> (row_bits + column_bits - 2)
        if terms >= WORTHWHILE_TERMS:
            return Accumulation(Digits(1, 0), Digits(1, 0), max(terms // 2, 1))
    rows = Digits(-(-row_bits // ROW_DIGIT_BITS), ROW_DIGIT_BITS)
    columns = Digits(1, 0) if column_bits <= 16 else Digits(-(-column_bits // COLUMN_DIGIT_BITS), COLUMN_DIGIT_BITS)
    column_magnitude = column_bits - 1 if columns.planes == 1 else COLUMN_DIGIT_BITS
    return Accumulation(rows, columns, ((INT32_LIMIT - 1) >> (ROW_DIGIT_BITS - 1 + column_magnitude)) // 2)


def plan_limbs(row_bits: int, column_bits: int) -> Accumulation:
    """The same into two limbs: wide operands alike, in as few digits as leave room for long int32 chains."""
    rows, columns = (Digits(-(-bits // LIMB_DIGIT_BITS), LIMB_DIGIT_BITS) for bits in (row_bits, column_bits))
    return Accumulation(rows, columns, ((INT32_LIMIT - 1) >> 2 * (LIMB_DIGIT_BITS - 1)) // 2)


NARROW = Accumulation(Digits(1, 0), Digits(1, 0), int(UNBOUNDED))  # for sums proved to fit int32: partial sums may wrap


def fits_int32(largest_sum: int, shift: int) -> bool:
    """Whether sums up to `largest_sum`, to be rounded by a right shift, can be held and rounded in int32."""
    return 0 <= shift <= 30 and largest_sum + (1 << shift) < INT32_LIMIT


def sum_bits(bits: int, terms: int) -> int:
    """Bits of `terms` products of `bits` magnitude bits in all, with guard bits for the rest of what is summed."""
    return bits + (terms - 1).bit_length() + 2


def require(name: str, what: str, bits: int, terms: int, way_out: str, held: int = INT64_BITS) -> None:
    """Raise unless an exact sum of `held` bits holds `terms` products of `bits` magnitude bits in all."""
    needed = sum_bits(bits, terms)
    if needed > held:
        limbs = " in two limbs" if held > INT64_BITS else ""
        raise FormatError(
            f"Layer {name!r}: the {what} sums {terms} products of {bits} bits and needs {needed} bits; "
            f"an exact sum{limbs} has {held}. {way_out}"
        )
