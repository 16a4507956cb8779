"""A stage in plain numbers, as the C runtime sees it.

What does not belong here: which stages have one (`Stage.row`), and how C is written (`export`).
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from fxptrain.nn.layers.windows import BOTH, NONE, Pair, Sides, Windows


class Row(NamedTuple):
    """A stage as the C runtime sees it, in plain numbers; what it reads and writes says the graph.

    Parameters
    ----------
    kind : str
        Names its files and its functions (``fxp_<kind>_forward``).
    kernel, stride, dilation : pair of int
        Of its windows on the input, see `Windows`.
    padding : (top, left, bottom, right)
        Zeros around the input.
    pool : pair of int
        Windows of sums of which the largest is kept.
    weights : tuple of int
        Extents in the order in which a sum reads them, the output channels first.
    patches : int
        How many copies of what the kernel sees one output gathers; none where it reads the input itself.
    panel : int
        Output channels whose packed weights are unpacked at a time.
    error_terms : int
        How many errors times a weight (or the mean's mantissa) meet in one sum of an input error, at most.
    mean : (int, int)
        Mantissa and shift of what sums without weights are multiplied by; of a curve, its steepest slope, and a number
        in its own meaning.
    """

    kind: str
    kernel: Pair = BOTH
    stride: Pair = BOTH
    padding: Sides = NONE
    pool: Pair = BOTH
    weights: tuple[int, ...] = ()
    patches: int = 0
    panel: int = 0
    error_terms: int = 1
    mean: tuple[int, int] = (1, 0)
    dilation: Pair = BOTH

    @property
    def windows(self) -> Windows:
        """On the input."""
        return Windows(self.kernel, self.stride, self.padding, self.dilation)

    @property
    def taps(self) -> int:
        """Weights of one output channel."""
        return prod(self.weights[1:]) if self.weights else 0
