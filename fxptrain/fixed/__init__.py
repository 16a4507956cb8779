"""Floor 0, what a number is: fixed-point formats, rounding, draws, arrays and conversion from and to real numbers."""

from fxptrain.fixed.array import FxPArray
from fxptrain.fixed.convert import dequantize, quantize
from fxptrain.fixed.draws import draws
from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.fixed.rounding import Rounding, requantize

__all__ = ["FxP", "FxPArray", "Multiplier", "Rounding", "dequantize", "draws", "quantize", "requantize"]
