"""Losses: softmax cross-entropy to 50 digits and squared error as a fraction, then the rules in integers of each."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal, localcontext
from fractions import Fraction

DIGITS = 50


def _real(logit: int, frac: int) -> Decimal:
    return Decimal(logit) * Decimal(2) ** -frac


def exact_softmax(logits: Sequence[int], frac: int) -> list[Decimal]:
    """Probabilities of raw logits with `frac` fraction bits, to 50 digits."""
    with localcontext(Context(prec=DIGITS)):
        powers = [(_real(int(z), frac) - _real(max(map(int, logits)), frac)).exp() for z in logits]
        total = sum(powers, Decimal(0))
        return [power / total for power in powers]


def exact_cross_entropy(logits: Sequence[int], frac: int, label: int) -> Decimal:
    """``-ln p[label]`` of raw logits, to 50 digits; exact also where the probability itself is tiny."""
    with localcontext(Context(prec=DIGITS)):
        top = _real(max(map(int, logits)), frac)
        total = sum(((_real(int(z), frac) - top).exp() for z in logits), Decimal(0))
        return top - _real(int(logits[label]), frac) + total.ln()


def squared_error(logits: Sequence[int], frac: int, label: int) -> tuple[Fraction, list[Fraction]]:
    """Half the squared distance to the one-hot target, and its gradient by the logits: their difference."""
    difference = [Fraction(int(z)) / Fraction(2) ** frac - (k == label) for k, z in enumerate(logits)]
    return sum((d * d for d in difference), Fraction(0)) / 2, difference


LOG2_E, LN_2 = 774541002, 45426  # log2(e) with 29 fractional bits, ln(2) with 16
ENTRIES = 256


def _powers() -> list[int]:
    """``2**(-k/256)`` with 30 fractional bits, nearest."""
    with localcontext(Context(prec=DIGITS)):
        return [int((Decimal(2) ** (30 - Decimal(k) / ENTRIES)).to_integral_value()) for k in range(ENTRIES + 1)]


def _logarithms() -> list[int]:
    """``log2(1 + k/256)`` with 16 fractional bits, nearest."""
    with localcontext(Context(prec=DIGITS)):
        ratio = [(1 + Decimal(k) / ENTRIES).ln() / Decimal(2).ln() for k in range(ENTRIES + 1)]
        return [int((value * 2**16).to_integral_value()) for value in ratio]


POWERS, LOGARITHMS = _powers(), _logarithms()


def _between(table: list[int], fraction: int) -> tuple[int, int]:
    """Table entry below a 16-bit fraction, and the magnitude of the step to the next, linear, rounded down."""
    k, rest = divmod(fraction, 2**8)
    return table[k], abs(table[k + 1] - table[k]) * rest // 2**8


def integer_cross_entropy(logits: Sequence[int], frac: int, label: int) -> tuple[list[int], int, int]:
    """Errors ``p - onehot`` with 30 fractional bits, that number, and the loss with 16 fractional bits."""
    top = max(logits)
    values = []
    for z in logits:
        whole, fraction = divmod((top - z) * LOG2_E // 2 ** (13 + frac), 2**16)
        entry, down = _between(POWERS, fraction)
        values.append((entry - down) // 2**whole if whole < 31 else 0)
    total = sum(values)
    errors = [value * 2**30 // total - (k == label) * 2**30 for k, value in enumerate(values)]
    whole = total.bit_length() - 1
    entry, up = _between(LOGARITHMS, (total - 2**whole) * 2**16 // 2**whole)
    logarithm = whole * 2**16 + entry + up - 30 * 2**16
    behind = Fraction(top - logits[label]) * Fraction(2) ** (16 - frac)
    return errors, 30, logarithm * LN_2 // 2**16 + behind.__floor__()


def integer_squared_error(logits: Sequence[int], frac: int, label: int) -> tuple[list[int], int, int]:
    """Errors ``z - onehot`` with `frac` fractional bits, that number, and half their squares with 16, floored."""
    errors = [z - (k == label) * 2**frac for k, z in enumerate(logits)]
    return errors, frac, sum((Fraction(e * e, 2) * Fraction(2) ** (16 - 2 * frac)).__floor__() for e in errors)


def integer_squared_distance(outputs: Sequence[int], frac: int, target: Sequence[int]) -> tuple[list[int], int, int]:
    """Errors ``z - t`` with `frac` fractional bits, that number, and half their squares with 16, floored."""
    errors = [z - t for z, t in zip(outputs, target, strict=True)]
    return errors, frac, sum((Fraction(e * e, 2) * Fraction(2) ** (16 - 2 * frac)).__floor__() for e in errors)
