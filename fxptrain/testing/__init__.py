"""For tests of fixed-point code, ours and yours: exact oracles and Hypothesis strategies; needs the extra ``test``.

Nothing in the package imports this. `oracles` compute with fractions and Python integers and share no code with what
they judge; the strategies often draw what breaks fixed-point code: ends of the range, ties, shifts at the limits.

Examples
--------
Somebody's firmware multiplies two Q15 numbers and claims to round to nearest, ties to even, and to saturate:

>>> def q15_product(a, b):
...     return (a * b + (1 << 14)) >> 15

Let Hypothesis look for two raw values for which an exact oracle disagrees:

>>> from hypothesis import find, settings, strategies as st
>>> from fxptrain.fixed import FxP
>>> from fxptrain.testing import oracles, raw_values
>>> q15 = FxP(16, 15)
>>> def expected(a, b):
...     return oracles.requantize(a * b, 15, q15)
>>> a, b = find(
...     st.tuples(raw_values(q15), raw_values(q15)),
...     lambda pair: q15_product(*pair) != expected(*pair),
...     settings=settings(max_examples=10_000, derandomize=True, database=None),
... )
>>> q15_product(a, b) - expected(a, b)
1

In a test suite the same is a ``@given`` on the two strategies and one ``assert ... == expected(a, b)``. Stochastic
rounding is tested exactly, too: over all draws that matter, the results must sum to the input.

>>> sum(oracles.requantize(-23, 4, q15, draw) for draw in oracles.every_draw(4))
-23
"""

from fxptrain.testing import oracles
from fxptrain.testing.layers import LayerCase, layer_cases
from fxptrain.testing.models import format_specs, model_specs, optimizer_specs
from fxptrain.testing.numbers import (
    accumulators_and_shifts,
    draw_words,
    formats,
    fxp_arrays,
    matmul_operands,
    raw_values,
    shapes,
)

__all__ = [
    "LayerCase",
    "accumulators_and_shifts",
    "draw_words",
    "format_specs",
    "formats",
    "fxp_arrays",
    "layer_cases",
    "matmul_operands",
    "model_specs",
    "optimizer_specs",
    "oracles",
    "raw_values",
    "shapes",
]
