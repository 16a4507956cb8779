"""How far initial values reach: the bounds of the uniform distributions that layers start from.

What does not belong here: drawing the values (`parameters`), and which layer has how many inputs (`nn.layers`).
"""

from __future__ import annotations

from math import isqrt
from typing import Literal

from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier

Init = Literal["uniform", "kaiming", "xavier", "zero", "data"]
ROOT_FRAC = 30
HEADROOM = 1  # bits above the bound, for what the first steps bring


def bound_of(init: Init, fan_in: int, fan_out: int, *, bias: bool = False) -> Multiplier | None:
    """Bound of a layer's initial weights, or its bias's, which are uniform in plus and minus it; None for zeros.

    Parameters
    ----------
    init : {"uniform", "kaiming", "xavier", "zero", "data"}
        ``uniform``: ``1 / sqrt(fan_in)``, as PyTorch's layers start. ``kaiming``: ``sqrt(6 / fan_in)``, which keeps the
        variance of the outputs from one ReLU to the next (He et al. 2015, eq. 10). ``xavier``: ``sqrt(6 / (fan_in +
        fan_out))`` (Glorot and Bengio 2010, eq. 16). ``zero`` is for the last layer of a residual branch, which then
        changes nothing at first (Zhang et al. 2019, "Fixup Initialization", section 3). ``data``: as ``kaiming``, until
        the first samples are seen (`engine.data_start`). Biases are as the weights in the first, zero in the others.
    fan_in, fan_out : int
        Products in one sum of the output, and in one of the input error, where no border cuts them off.

    Returns
    -------
    Multiplier
        The root, floored at 30 fractional bits.

    Examples
    --------
    >>> [round(bound_of(init, 24, 8).real, 4) for init in ("uniform", "kaiming", "xavier")]
    [0.2041, 0.5, 0.433]
    """
    if init == "zero" or (bias and init != "uniform"):
        return None
    above, below = {"uniform": (1, fan_in), "xavier": (6, fan_in + fan_out)}.get(init, (6, fan_in))
    return Multiplier.from_ratio(isqrt((above << 2 * ROOT_FRAC) // below), 1 << ROOT_FRAC)


def format_of(bound: Multiplier, bits: int) -> FxP:
    """The finest format of so many bits that holds twice a bound.

    Examples
    --------
    >>> format_of(bound_of("kaiming", 24, 8), 8)
    FxP(8, 7)
    """
    above = (bound.mantissa - 1).bit_length() - bound.shift
    return FxP(bits, bits - 1 - HEADROOM - above)
