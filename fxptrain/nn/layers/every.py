"""The layers of the package under their names, said once: `fxptrain.layers` and `nn.spec` take them from here.

What does not belong here: which kinds there are at run time, with those from outside the package (`registry`).
"""

from fxptrain.nn.layers.activation import Clamp, LeakyReLU, ReLU, ReLU6
from fxptrain.nn.layers.add import Add
from fxptrain.nn.layers.conv import Linear
from fxptrain.nn.layers.conv2d import Conv2d
from fxptrain.nn.layers.curve import HardSigmoid, HardSwish, Sigmoid, Tanh
from fxptrain.nn.layers.depthwise import DepthwiseConv2d
from fxptrain.nn.layers.dropout import Dropout
from fxptrain.nn.layers.layout import Concat, Flatten
from fxptrain.nn.layers.normalization import BatchNorm
from fxptrain.nn.layers.pool import AvgPool2d, GlobalAvgPool, MaxPool2d
from fxptrain.nn.layers.series import AvgPool1d, Conv1d, Conv1dTranspose, DepthwiseConv1d, MaxPool1d, Upsample1d
from fxptrain.nn.layers.transposed import Conv2dTranspose
from fxptrain.nn.layers.upsample import Upsample2d

__all__ = [
    "Add",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm",
    "Clamp",
    "Concat",
    "Conv1d",
    "Conv1dTranspose",
    "Conv2d",
    "Conv2dTranspose",
    "DepthwiseConv1d",
    "DepthwiseConv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "HardSigmoid",
    "HardSwish",
    "LeakyReLU",
    "Linear",
    "MaxPool1d",
    "MaxPool2d",
    "ReLU",
    "ReLU6",
    "Sigmoid",
    "Tanh",
    "Upsample1d",
    "Upsample2d",
]
