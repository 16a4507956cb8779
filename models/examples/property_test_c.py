"""Property-test somebody else's fixed-point C.

A library says that it multiplies Q15 numbers "with rounding and saturation". An exact oracle and Hypothesis, through
`fxptrain.testing` (extra `test`), find within a second where it does not. It needs a C compiler.
"""

# %%
import ctypes
import subprocess
from pathlib import Path

from hypothesis import find, given, settings
from hypothesis import strategies as st

from fxptrain.fixed import FxP
from fxptrain.testing import oracles, raw_values

try:
    import matplotlib.pyplot as plt  # pip install fxptrain[plot]
except ImportError:
    plt = None  # no pictures then

# %% [markdown]
# ## The function
#
# It looks right, and most products are.

# %%
SOURCE = """
#include <stdint.h>

int16_t q15_multiply(int16_t a, int16_t b)
{
    return (int16_t)(((int32_t)a * b + (1 << 14)) >> 15);
}

int16_t q15_multiply_mended(int16_t a, int16_t b)
{
    int32_t product = (int32_t)a * b;
    int32_t rounded = (product + (1 << 14) - 1 + ((product >> 15) & 1)) >> 15;
    return (int16_t)(rounded > INT16_MAX ? INT16_MAX : rounded);
}
"""
work = Path("runs/q15")
work.mkdir(parents=True, exist_ok=True)
(work / "q15.c").write_text(SOURCE, encoding="utf-8")
library = (work / "q15.so").resolve()
subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, work / "q15.c"], check=True)


def function(name):
    """A function of the library that takes two int16 and gives one."""
    found = getattr(ctypes.CDLL(library), name)
    found.argtypes, found.restype = (ctypes.c_int16, ctypes.c_int16), ctypes.c_int16
    return found


multiply = function("q15_multiply")

# %% [markdown]
# ## What it should give
#
# The oracle computes with fractions: shift by 15, round half to even, saturate. `raw_values` draws integers of the
# format, the ends of its range and powers of two more often than by chance.

# %%
Q15 = FxP(16, 15)
pairs = st.tuples(raw_values(Q15), raw_values(Q15))
quiet = settings(max_examples=20_000, database=None, derandomize=True)


def expected(a, b):
    """The exact product, rounded once."""
    return oracles.requantize(a * b, 15, Q15)


# %% [markdown]
# ## The smallest case that differs
#
# Hypothesis looks for one, and makes it as simple as it can. First any, then one that is wrong by more than a last bit:

# %%
a, b = find(pairs, lambda pair: multiply(*pair) != expected(*pair), settings=quiet)
print(
    f"{a} * {b}: the library gives {multiply(a, b)}, exact is {expected(a, b)} (a tie, rounded up instead of to even)"
)

# %%
a, b = find(pairs, lambda pair: abs(multiply(*pair) - expected(*pair)) > 1, settings=quiet)
print(f"{a} * {b}: the library gives {multiply(a, b)}, exact is {expected(a, b)} (-1 times -1 overflows)")

# %%
if plt:
    figure, axis = plt.subplots(figsize=(4, 2.4))
    line = range(-32768, -32700)
    axis.step(line, [multiply(-32768, b) / 32768 for b in line], label="the library")
    axis.step(line, [expected(-32768, b) / 32768 for b in line], linestyle="--", label="exact")
    axis.set(xlabel="b", ylabel="-1 times b / 2^15")
    axis.legend()
    figure.tight_layout()

# %% [markdown]
# ## The mended one
#
# In a test suite it is a test like this one, which passes for the second function.

# %%
mended = function("q15_multiply_mended")


@settings(parent=quiet, max_examples=2000, deadline=None)
@given(pairs)
def test_multiply(pair):
    """Every product is the exact one, rounded once."""
    assert mended(*pair) == expected(*pair)


test_multiply()
print("2,000 products of the mended function are exact")
