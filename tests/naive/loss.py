"""Losses as exact as they come: softmax cross-entropy to 50 digits, squared error as a fraction."""

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
