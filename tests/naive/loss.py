"""Losses: softmax cross-entropy to 50 digits and squared error as a fraction, then the rules in integers of each."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from math import floor

from .curve import exact_sigmoid, sigmoid

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


Found = tuple[list[int], int, int]  # errors, their fractional bits, loss with 16


def smoothed(one: int, classes: int, smoothing: int) -> tuple[int, int]:
    """What the target of the right class is, and of another, of 2**30; the smoothing has 16 fractional bits."""
    other = smoothing * 2**14 // classes
    return (one - (classes - 1) * other, other)


def _logarithm(value: int) -> int:
    """Binary logarithm of a whole number, with 16 fractional bits."""
    whole = value.bit_length() - 1
    entry, up = _between(LOGARITHMS, (value - 2**whole) * 2**16 // 2**whole)
    return whole * 2**16 + entry + up


def weighted(found: Found, weight: int | None) -> Found:
    """Errors and loss times a weight with 12 fractional bits, the loss rounded down."""
    errors, frac, loss = found
    return found if weight is None else ([error * weight for error in errors], frac + 12, loss * weight // 2**12)


def integer_cross_entropy(
    logits: Sequence[int], frac: int, label: int, smoothing: int = 0, weights: Sequence[int] = ()
) -> Found:
    """Errors ``p - t`` with 30 fractional bits, that number, and the loss with 16 fractional bits."""
    top = max(logits)
    values = []
    for z in logits:
        whole, fraction = divmod((top - z) * LOG2_E // 2 ** (13 + frac), 2**16)
        entry, down = _between(POWERS, fraction)
        values.append((entry - down) // 2**whole if whole < 31 else 0)
    total = sum(values)
    own, other = smoothed(2**30, len(logits), smoothing)
    targets = [own if k == label else other for k in range(len(logits))]
    errors = [value * 2**30 // total - target for value, target in zip(values, targets, strict=True)]
    behind = sum(Fraction(t, 2**30) * (top - z) for t, z in zip(targets, logits, strict=True)) * Fraction(2) ** -frac
    loss = (_logarithm(total) - 30 * 2**16) * LN_2 // 2**16 + floor(behind * 2**16)
    return weighted((errors, 30, loss), weights[label] if weights else None)


def exact_binary_cross_entropy(logit: int, frac: int, target: Fraction) -> tuple[Decimal, Decimal]:
    """Probability of a label by its raw logit, and its loss, to 50 digits."""
    with localcontext(Context(prec=DIGITS)):
        z, t = _real(logit, frac), Decimal(target.numerator) / Decimal(target.denominator)
        loss = max(z, Decimal(0)) - z * t + (1 + (-abs(z)).exp()).ln()
        return exact_sigmoid(Fraction(logit) * Fraction(2) ** -frac), loss


def integer_binary_cross_entropy(
    logits: Sequence[int], frac: int, target: Sequence[int], smoothing: int = 0, weights: Sequence[int] = ()
) -> Found:
    """The same of labels that are 1 or 0, each by itself."""
    errors, total = [], 0
    for k, (z, there) in enumerate(zip(logits, target, strict=True)):
        t = Fraction(smoothed(2**30, 2, smoothing)[1 - there], 2**30)
        near = min(max(Fraction(z) * Fraction(2) ** -frac, Fraction(-32)), Fraction(32))
        p = sigmoid(floor(near * 2**28))
        certain = (30 * 2**16 - _logarithm(max(p, 2**30 - p))) * LN_2 // 2**16
        off = abs(Fraction(z)) * Fraction(2) ** -frac * (1 - t if z > 0 else t)
        found = [p - int(t * 2**30)], 30, certain + floor(off * 2**16)
        (error,), grid, loss = weighted(found, (weights[k] if there else 2**12) if weights else None)
        errors.append(error)
        total += loss
    return errors, grid, total


def integer_squared_error(logits: Sequence[int], frac: int, label: int, weights: Sequence[int] = ()) -> Found:
    """Errors ``z - onehot`` with `frac` fractional bits, that number, and half their squares with 16, floored."""
    errors = [z - (k == label) * 2**frac for k, z in enumerate(logits)]
    loss = sum((Fraction(e * e, 2) * Fraction(2) ** (16 - 2 * frac)).__floor__() for e in errors)
    return weighted((errors, frac, loss), weights[label] if weights else None)


def is_right(logits: Sequence[int], target: int | Sequence[int], *, labels: bool = False) -> bool:
    """Whether the first largest is the class, or those above zero are the labels; of other vectors none is."""
    if isinstance(target, int):
        return list(logits).index(max(logits)) == target
    return labels and [int(z > 0) for z in logits] == list(target)


def integer_squared_distance(outputs: Sequence[int], frac: int, target: Sequence[int]) -> Found:
    """Errors ``z - t`` with `frac` fractional bits, that number, and half their squares with 16, floored."""
    errors = [z - t for z, t in zip(outputs, target, strict=True)]
    return errors, frac, sum((Fraction(e * e, 2) * Fraction(2) ** (16 - 2 * frac)).__floor__() for e in errors)
