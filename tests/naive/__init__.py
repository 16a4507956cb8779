"""The independent oracle: every rule of the arithmetic as plain-Python loops on int and Fraction.

Nothing here imports the package it judges; NumPy is only the container (object arrays of Python integers, so nothing
can wrap). What does not belong here: speed, checks of the user's input, anything clever.
"""

from .activation import IDENTITY, RELU, Activation, activation_of, relu
from .adapt import DelayedScale, Form, adapt_frac, fitting_frac, regrid
from .batchnorm import BatchNorm
from .containers import exact, largest, zeros
from .conv import (
    conv2d_bias_gradient,
    conv2d_forward,
    conv2d_input_error,
    conv2d_weight_gradient,
    depthwise_bias_gradient,
    depthwise_forward,
    depthwise_input_error,
    depthwise_weight_gradient,
)
from .draws import draw, draw_array, threefry2x32
from .layer import Stage
from .linear import linear_bias_gradient, linear_forward, linear_input_error, linear_weight_gradient
from .loss import (
    exact_binary_cross_entropy,
    exact_cross_entropy,
    exact_softmax,
    integer_binary_cross_entropy,
    integer_cross_entropy,
    integer_squared_distance,
    integer_squared_error,
    is_right,
    squared_error,
)
from .model import NaiveModel
from .multiplier import Multiplier
from .operations import OPERATIONS, Geometry, Input, Operation
from .operations import align as align_sums
from .parameter import Parameter, Rule, choose_channels, momentum_frac_that_fits
from .pool import (
    avgpool2d_forward,
    avgpool2d_input_error,
    global_avgpool_forward,
    global_avgpool_input_error,
    maxpool2d_forward,
    maxpool2d_input_error,
)
from .rounding import (
    raw_range,
    requantize,
    requantize_array,
    round_half_even,
    round_shift,
    round_stochastic,
    saturate,
)
from .stage import add_bias, error_mask, fused_stage, gated
from .update import align, fed_back, initialize, momentum_sum, momentum_update, weight_update

__all__ = [
    "IDENTITY",
    "OPERATIONS",
    "RELU",
    "Activation",
    "BatchNorm",
    "DelayedScale",
    "Form",
    "Geometry",
    "Input",
    "Multiplier",
    "NaiveModel",
    "Operation",
    "Parameter",
    "Rule",
    "Stage",
    "activation_of",
    "adapt_frac",
    "add_bias",
    "align",
    "align_sums",
    "avgpool2d_forward",
    "avgpool2d_input_error",
    "choose_channels",
    "conv2d_bias_gradient",
    "conv2d_forward",
    "conv2d_input_error",
    "conv2d_weight_gradient",
    "depthwise_bias_gradient",
    "depthwise_forward",
    "depthwise_input_error",
    "depthwise_weight_gradient",
    "draw",
    "draw_array",
    "error_mask",
    "exact",
    "exact_binary_cross_entropy",
    "exact_cross_entropy",
    "exact_softmax",
    "fed_back",
    "fitting_frac",
    "fused_stage",
    "gated",
    "global_avgpool_forward",
    "global_avgpool_input_error",
    "initialize",
    "integer_binary_cross_entropy",
    "integer_cross_entropy",
    "integer_squared_distance",
    "integer_squared_error",
    "is_right",
    "largest",
    "linear_bias_gradient",
    "linear_forward",
    "linear_input_error",
    "linear_weight_gradient",
    "maxpool2d_forward",
    "maxpool2d_input_error",
    "momentum_frac_that_fits",
    "momentum_sum",
    "momentum_update",
    "raw_range",
    "regrid",
    "relu",
    "requantize",
    "requantize_array",
    "round_half_even",
    "round_shift",
    "round_stochastic",
    "saturate",
    "squared_error",
    "threefry2x32",
    "weight_update",
    "zeros",
]
